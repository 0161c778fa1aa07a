"""``unlearn`` for tests that build all its options as one dictionary."""

from dataclasses import fields, replace

import expunge
from expunge.callbacks import LambdaCallback

CONFIG_FIELDS = {field.name for field in fields(expunge.RunConfig)}


def flat_unlearn(model, **options):
    """Call ``unlearn`` with fields of ``RunConfig``, ``on_step`` and ``on_log`` among its keywords."""
    config = replace(options.pop("config", expunge.RunConfig()), **take(options, CONFIG_FIELDS))
    functions = take(options, {"on_step", "on_log"})
    callbacks = [*options.pop("callbacks", ()), *([LambdaCallback(**functions)] if functions else [])]
    return expunge.unlearn(model, **options, config=config, callbacks=callbacks)


def take(options, names):
    """Remove these options and return them."""
    return {name: options.pop(name) for name in names & options.keys()}
