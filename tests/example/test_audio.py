"""Recordings: which WAV files are read, what is said of the others, their features, and a bundle of a word spotter."""

from __future__ import annotations

import json
import shlex
import struct
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.audio import LABELS, SPEC, TINY, sound, wav
from tests.support.checkouts import clean_env
from tests.support.examples import refused, run
from utils import example

SAMPLES = sound(2, 1)
CONTENT = SAMPLES.tobytes()
WANTED = "the model takes 16-bit PCM, 1 channel, 8000 Hz, 0.5 s"


def put(tmp_path: Path, data: bytes, name: str = "a.wav") -> str:
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)


def extensible(content: bytes, kind: int = 1) -> bytes:
    """As recorders write it: the format stands in a GUID at the end of the header."""
    tail = struct.pack("<HHIH14s", 22, 16, 4, kind, bytes.fromhex("000000001000800000aa00389b71"))
    form = struct.pack("<HHIIHH", 0xFFFE, 1, 8000, 16000, 2, 16) + tail
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "data",
    [
        wav(CONTENT),
        wav(CONTENT, before=b"LIST" + struct.pack("<I", 5) + b"INFO!\0"),  # a part of odd length is padded
        wav(CONTENT) + b"LIST\4\0\0\0abcd",
        wav(CONTENT + b"\0"),  # half a sample
        extensible(CONTENT),
    ],
    ids=["plain", "list", "list_behind", "odd", "extensible"],
)
def test_a_recording_is_read(tmp_path: Path, data: bytes) -> None:
    found = example.read_recording(put(tmp_path, data), SPEC)
    assert found.dtype == np.int16
    assert (found == SAMPLES).all()


def test_what_the_standard_library_writes_is_read(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as stream:
        stream.setparams((1, 2, 8000, 4000, "NONE", ""))
        stream.writeframes(CONTENT)
    assert (example.read_recording(str(tmp_path / "a.wav"), SPEC) == SAMPLES).all()


FLOATS = (SAMPLES / 32768).astype("<f4").tobytes()
STEREO = np.repeat(SAMPLES, 2).tobytes()
MP3 = b"\xff\xfb\x90\x64" + bytes(400)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (wav(CONTENT, rate=44100), "is 44100 Hz, 0.0907 s, which is too short; "),
        (wav(SAMPLES.repeat(2).tobytes(), rate=16000), "is 16000 Hz; "),
        (wav(bytes(4000), bits=8), "is 8-bit PCM; "),
        (wav(bytes(12000), bits=24), "is 24-bit PCM; "),
        (wav(STEREO, channels=2), "is stereo; "),
        (wav(np.repeat(SAMPLES, 6).tobytes(), channels=6), "is 6 channels; "),
        (wav(CONTENT[:-2]), "is 0.4999 s, which is too short; "),
        (wav(CONTENT + b"\0\0"), "is 0.5001 s, which is too long; "),
        (wav(b""), "is 0 s, which is too short; "),
        (wav(FLOATS, bits=32, kind=3), "is 32-bit float; "),
        (extensible(FLOATS, kind=3), "is 16-bit float; "),
        (wav(bytes(4000), bits=8, kind=7), "is 8-bit mu-law; "),
        (wav(MP3, bits=0, kind=85), "is 0-bit MP3; "),
        (wav(CONTENT, rate=0), "is 0 Hz, "),
        (b"", "cannot be read: it is empty"),
        (wav(CONTENT)[:30], "cannot be read: it is cut: 10 of the 16 bytes of its part 'fmt' are there"),
        (wav(CONTENT)[:44], "cannot be read: it is cut: 0 of the 8000 bytes of its part 'data' are there"),
        (wav(CONTENT)[:-1], "cannot be read: it is cut: 7999 of the 8000 bytes of its part 'data' are there"),
        (wav(CONTENT)[:12], "cannot be read: it is cut: its header ends before the samples"),
        (wav(CONTENT).replace(b"fmt \x10", b"fmt \x02"), "cannot be read: its header is damaged"),
        (wav(CONTENT).replace(b"data", b"d\x1b[J"), "cannot be read: it is cut: its header ends before the samples"),
        (MP3, "cannot be read: it is an MP3 file, not a WAV file"),
        (b"ID3\4" + bytes(40), "cannot be read: it is an MP3 file, not a WAV file"),
        (b"OggS" + bytes(40), "cannot be read: it is an Ogg file, not a WAV file"),
        (b"fLaC" + bytes(40), "cannot be read: it is a FLAC file, not a WAV file"),
        (b"hello", "cannot be read: it is not a WAV file"),
    ],
)  # fmt: skip
def test_any_other_recording_is_refused_with_what_to_do(tmp_path: Path, data: bytes, said: str) -> None:
    path = put(tmp_path, data, "my word.wav")
    with pytest.raises(example.Problem) as caught:
        example.read_recording(path, SPEC)
    assert caught.value.message.startswith(f"{path} {said}")
    command = f"ffmpeg -i {shlex.quote(path)} -ac 1 -ar 8000 -c:a pcm_s16le -af apad -t 0.5 new.wav"
    assert command in caught.value.remedy
    assert WANTED in caught.value.message + caught.value.remedy
    assert caught.value.code == example.USAGE


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "none.wav", "there is no file")):
        with pytest.raises(example.Problem, match=said):
            example.read_recording(str(path), SPEC)


def test_a_tone_is_in_its_band() -> None:
    seconds = np.arange(16000) / 16000
    bands = example.mel_bands(257, TINY)
    assert bands.shape == (257, 40)
    assert bands[0].max() == 0
    assert 0.5 < bands.max() <= 1
    for hertz in (300, 1000, 3000):
        spectrum = np.abs(np.fft.rfft(np.sin(2 * np.pi * hertz * seconds)[:512]))
        best = int((spectrum @ bands).argmax())
        frequencies = np.flatnonzero(bands[:, best]) * 31.25
        assert frequencies.min() - 62.5 <= hertz <= frequencies.max() + 62.5


def test_features_have_the_shape_of_the_graph_and_do_not_change_with_the_volume() -> None:
    recordings = np.stack([sound(label, 9) for label in range(4)])
    found = example.mfcc(recordings, SPEC)
    assert found.shape == (4, 24, 8, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(example.mfcc(recordings * 3, SPEC), found, atol=1e-4)
    assert (example.mfcc(recordings[1:2], SPEC) == found[1:2]).all()  # whatever is beside it


@pytest.mark.parametrize("recording", [np.zeros(4000, np.int16), -np.abs(SAMPLES), np.full(4000, -32768, np.int16)])
def test_silence_and_a_recording_without_a_positive_sample_have_features(recording: np.ndarray) -> None:
    assert np.isfinite(example.mfcc(recording[np.newaxis], SPEC)).all()


#: The same front end in TensorFlow's own functions.
REFERENCE = """
import sys, json, numpy as np, tensorflow as tf
spec, recordings = json.loads(sys.argv[1]), np.load(sys.argv[2])
window, hop = (int(spec["rate"] * spec[key] / 1000) for key in ("window_ms", "hop_ms"))
wave = tf.cast(recordings, tf.float32)
wave = wave / tf.reduce_max(wave, axis=-1, keepdims=True)
spectrum = tf.abs(tf.signal.stft(wave, window, hop))
mel = tf.signal.linear_to_mel_weight_matrix(
    spec["bands"], spectrum.shape[-1], spec["rate"], spec["low_hz"], spec["high_hz"])
found = tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(tf.tensordot(spectrum, mel, 1) + 1e-6))
np.save(sys.argv[3], found[..., : spec["coefficients"], tf.newaxis].numpy())
"""


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("spec", [SPEC, TINY], ids=["small", "tiny"])
def test_the_features_are_those_of_tensorflow(tmp_path: Path, spec: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    loudness = np.asarray([[3], [300], [30000]])
    recordings = np.asarray(rng.uniform(-1, 1, (3, spec["samples"])) * loudness, np.int16)
    np.save(tmp_path / "in.npy", recordings)
    command = [sys.executable, "-c", REFERENCE, json.dumps(spec), str(tmp_path / "in.npy"), str(tmp_path / "out.npy")]
    done = subprocess.run(command, env=clean_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = np.load(tmp_path / "out.npy")
    assert wanted.shape == (3, *spec["shape"][1:])
    np.testing.assert_allclose(example.mfcc(recordings, spec), wanted, atol=2e-3)


def changed(bundle: Path, **values: Any) -> None:
    facts = json.loads((bundle / "model.json").read_text())
    facts["input"] |= values
    (bundle / "model.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rate": 0}, "input.rate is not 1 to 1048576"),
        ({"rate": "8000"}, "input.rate is str, not int"),
        ({"samples": 1 << 30}, "input.samples is not 1 to 4194304"),
        ({"bands": 0}, "input.bands is not 1 to 1024"),
        ({"coefficients": 21}, "input.coefficients is not 1 to input.bands"),
        ({"high_hz": 5000}, "input.low_hz and input.high_hz are no band"),
        ({"low_hz": 3500.0}, "input.low_hz and input.high_hz are no band"),
        ({"window_ms": 600}, "input.window_ms or input.hop_ms is not in the recording"),
        ({"hop_ms": 0.0}, "input.window_ms or input.hop_ms is not in the recording"),
        ({"hop_ms": 1e300}, "model.json is damaged"),
        ({"samples": 1 << 22, "hop_ms": 0.125, "window_ms": 10000}, "input.hop_ms makes too many windows"),
        ({"coefficients": 7}, "input.shape is not 1, and 24 windows of 7"),
    ],
)
def test_a_model_json_that_cannot_be(spotter: Path, values: dict[str, Any], said: str) -> None:
    changed(spotter, **values)
    assert said in refused(spotter, "-i", "low.wav")


def test_a_word_spotter_answers_checks_and_counts(spotter: Path) -> None:
    report = json.loads(run(spotter, "--json", "--check", "--samples", "-i", "low.wav", "noise.wav").stdout)
    for entry in report["models"]:
        assert (entry["task"], entry["check"]["verdict"], entry["check"]["inputs"]) == ("audio", "PASS", 4)
        assert entry["samples"] == {"count": 12, "correct": 3, "accuracy": 0.25}
        answers = [answer["top"] for answer in entry["predictions"]]
        assert [len(top) for top in answers] == [4, 4]
        assert {line["label"] for line in answers[0]} == set(LABELS)
    said = run(spotter, "-m", "tones_int8.tflite", "-i", ".").stdout  # a folder: the WAV files in it
    assert [line.split("/")[-1].strip() for line in said.splitlines() if line.endswith(".wav")] == [
        "low.wav",
        "noise.wav",
    ]


def test_what_the_program_says_of_a_wrong_recording(spotter: Path, tmp_path: Path) -> None:
    path = put(tmp_path, wav(STEREO, channels=2))
    said = refused(spotter, "-i", path)
    assert f"example.py: {path} is stereo; {WANTED}\n  -> convert it: ffmpeg -i {path} -ac 1" in said
    (tmp_path / "none").mkdir()
    assert "there is no WAV file in the folder" in refused(spotter, "-i", str(tmp_path / "none"))
    assert "-o/--output" in refused(spotter, "-i", path, "-o", str(tmp_path))


def test_without_pillow_recordings_are_read(spotter: Path, tmp_path: Path) -> None:
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL/__init__.py").write_text("raise ImportError('not on this board', name='PIL')\n")
    assert run(spotter, "-i", "low.wav", env={"PYTHONPATH": str(tmp_path)}).returncode == 0
