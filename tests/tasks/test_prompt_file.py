"""Files of prompts: what the published ones look like, what is refused, and that each row is drawn as it says."""

import csv

import pytest
import torch
from tiny_pipeline import tiny_model

from expunge.errors import DataError, RequestError
from expunge.tasks.diffusion.evaluation import PromptRow, get_class_indices, prompt_file, read_prompts


def file(tmp_path, content):
    path = tmp_path / "prompts.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_columns_of_i2p_and_of_imagenette_are_known(tmp_path):
    i2p = (
        ",prompt,categories,hard,sd_seed,sd_guidance_scale,sd_model\n"
        '0,"a portrait, oil ""old""",sexual,0,4068748405,7,1.4\n'
        "1,\u00fcber alles,hate,1,15,8.5,1.4\n"
    )
    assert read_prompts(file(tmp_path, i2p)) == (
        PromptRow('a portrait, oil "old"', 4068748405, 7.0),
        PromptRow("\u00fcber alles", 15, 8.5),
    )
    imagenette = "case_number,prompt,evaluation_seed,class\r\n0,image of a tench,9223372036854775807,tench\r\n\r\n"
    assert read_prompts(file(tmp_path, imagenette)) == (PromptRow("image of a tench", 2**63 - 1, None, "tench"),)


def test_what_a_csv_writer_writes_is_read_back(tmp_path):
    prompts = ['a "b", c', "line\nbreak", "  spaces inside  kept", "\u732b", "=1+1"]
    path = tmp_path / "prompts.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as target:
        writer = csv.writer(target)
        writer.writerow(["Seed", "Prompt "])
        writer.writerows([seed, prompt] for seed, prompt in enumerate(prompts))
    found = read_prompts(path)
    assert [row.prompt for row in found] == [prompt.strip() for prompt in prompts]
    assert [row.seed for row in found] == list(range(5))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "a column 'prompt' in the first line of 'prompts.csv', but found nothing"),
        ("text,seed\na,1\n", "but found text, seed"),
        ("prompt,seed\n", "at least one prompt in 'prompts.csv', but found none"),
        ("prompt,seed\na cat,1\nb\n", "prompts.csv line 3: Expected 2 columns on every line, but found 1"),
        ("prompt,seed\n,1\n", "line 2: Expected a prompt of 1 to 2000 characters, but found 0"),
        (f"prompt\n{'x' * 2001}\n", "characters, but found 2001"),
        ("prompt,seed\na,1.5\n", "line 2: Expected a whole number as seed, but found '1.5'"),
        ("prompt,seed\na,-1\n", "a number from 0 up as seed, but found '-1'"),
        ("prompt,seed\na,9223372036854775808\n", "a whole number as seed"),
        ("prompt,seed\na,nan\n", "a number from 0 up as seed"),
        ("prompt,guidance\na,much\n", "a number from 0 up as guidance, but found 'much'"),
        ("prompt,guidance\na,1e999\n", "a number from 0 up as guidance, but found '1e999'"),
        (b"prompt\n\xff\xfe\n", "CSV file in UTF-8, but found UnicodeDecodeError"),
        ('prompt\n"never closed\n', "CSV file in UTF-8, but found Error"),
        (b"\x80\x04\x95", "CSV file in UTF-8"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, content, sentence):
    with pytest.raises(DataError) as refused:
        read_prompts(file(tmp_path, content))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_large_and_missing_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(prompt_file, "MAX_FILE_BYTES", 20)
    with pytest.raises(DataError, match="a file of prompts of at most"):
        read_prompts(file(tmp_path, "prompt\n" + "a cat\n" * 4))
    with pytest.raises(DataError, match=r"a file of prompts at '.*none.csv', but found no such file"):
        read_prompts(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a directory"):
        read_prompts(tmp_path)


def test_every_row_is_drawn_with_its_own_seed_and_guidance():
    from expunge.tasks.stable_diffusion.prompt_images import generate_prompt_images

    model = tiny_model()
    rows = [PromptRow("cat", 5, 2.0), PromptRow("dog"), PromptRow("red car", 5, 2.0), PromptRow("cat", 9)]
    done = []
    found = generate_prompt_images(model, rows, guidance=1.0, steps=2, on_images=lambda *count: done.append(count))
    assert found.prompts == ("cat", "dog", "red car", "cat")
    assert found.seeds.tolist() == [5, 1, 5, 9]
    for image, (prompt, seed, guidance) in zip(
        found.images, [("cat", 5, 2.0), ("dog", 1, 1.0), ("red car", 5, 2.0), ("cat", 9, 1.0)], strict=True
    ):
        alone = model.images([prompt], [seed], guidance=guidance, steps=2)[0]
        torch.testing.assert_close(image, alone, atol=1e-5, rtol=0)
    assert done == [(2, 4), (4, 4)]
    with pytest.raises(RequestError, match="at least one prompt"):
        generate_prompt_images(model, [])
    with pytest.raises(RequestError):
        generate_prompt_images(model, [PromptRow("dog " * 40)])


def test_classes_are_those_of_the_classifier():
    rows = [PromptRow("a", class_name="dog"), PromptRow("b", class_name="cat"), PromptRow("c", class_name="dog")]
    assert get_class_indices(rows, ["cat", "dog"]) == [1, 0, 1]
    with pytest.raises(DataError, match="knows for every prompt, but found 'dog' for prompt 1"):
        get_class_indices(rows, ["cat"])
    with pytest.raises(DataError, match="found none for prompt 2"):
        get_class_indices([rows[0], PromptRow("d")], ["cat", "dog"])
