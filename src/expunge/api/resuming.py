"""Going on with a run: what it was begun with is noted in its folder, and other code is refused."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import torch

from expunge.api.compute_context import describe_environment
from expunge.api.folder import CONFIG_FILE, RunFolder
from expunge.code_hashes import code_version
from expunge.errors import ConfigError

FORCE_HINT = "go on with that version, begin anew with --overwrite, or pass --force"


def write_config(folder: RunFolder, config: Mapping[str, Any], device: torch.device) -> None:
    """Note the request with what its bits depend on, and a name of the run that no other has."""
    folder.write_json(CONFIG_FILE, {**config, "run": secrets.token_hex(8), "environment": describe_environment(device)})


def check_code(folder: RunFolder, force: bool) -> None:
    """Refuse to go on with a run that other code began, or note that it was gone on with nevertheless."""
    path, now = folder.path / CONFIG_FILE, code_version()
    saved = json.loads(path.read_text(encoding="utf-8"))
    begun = saved.get("environment") if isinstance(saved.get("environment"), dict) else {}
    versions = [*(begun.get("later") or []), begun]
    if any(all(one.get(name) == value for name, value in now.items()) for one in versions if isinstance(one, dict)):
        return
    if not force:
        then = f"version {begun.get('expunge', 'unknown')}"
        other = f"version {now['expunge']}" if begun.get("expunge") != now["expunge"] else "changed sources of it"
        raise ConfigError(f"the code that the run in '{folder.path}' was begun with, {then}", other, FORCE_HINT)
    saved["environment"] = {**begun, "later": [*(begun.get("later") or []), now]}
    folder.write_json(CONFIG_FILE, saved)
