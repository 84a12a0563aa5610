"""The site without a browser: complete, linked, escaped, in words, small, and the same bytes every time."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support import catalogues
from tests.support.catalogues import BSPS, EVIL, Bundles, board, catalogue, model, states
from utils.catalogue import markup
from utils.catalogue.site import write_site
from utils.errors import BuildError

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """A page, parsed strictly: every tag that opens is closed, in order."""

    def __init__(self, file: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.file, self.text, self.ids = file, "", []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[int] = []
        self._open: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))
        self.close()
        assert not self._open, f"{file}: never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{self.file}: {tag} has an attribute twice: {names}"
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if "id" in given:
            self.ids.append(given["id"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        opened = self._open.pop() if self._open else None
        assert opened == tag, f"{self.file}: </{tag}> closes <{opened}>, line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [given for found, given in self.tags if found == tag]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def make(to: Path, content: dict[str, Any], read: Bundles | None = None, **more: Any) -> Path:
    write_site(content, catalogues.plots(content), read or Bundles(), to, **more)
    return to


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(
        tmp_path_factory.mktemp("site") / "site", states(), more={"try.js": b"// try", "runtime/x.wasm": b"\0asm"}
    )


def page(site: Path, name: str) -> Page:
    return Page(site / ("index.html" if name == "index" else f"models/{name}.html"))


def pages(site: Path) -> list[Page]:
    return [Page(file) for file in sorted(site.rglob("*.html"))]


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# The folder


def test_the_same_content_gives_the_same_bytes_and_replaces_the_site_in_one_move(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one", states()), make(tmp_path / "other", states())
    first = files_of(one)
    assert first == files_of(other)
    (one / "old.html").write_text("of an older site")
    make(one, states())
    assert files_of(one) == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_the_site_has_a_page_for_each_model_its_pictures_files_and_what_try_it_needs(site: Path) -> None:
    found = files_of(site)
    names = {entry["name"] for entry in states()["models"]}
    assert {f"models/{name}.html" for name in names} <= found.keys()
    assert {"index.html", "style.css", "catalogue.js", "catalogue.json", "try.js", "runtime/x.wasm"} <= found.keys()
    assert found["models/own_weights/own_weights_int8.tflite"] == b"own_weights own_weights_int8.tflite"
    assert found["models/own_weights/result.png"] == catalogues.png(len("own_weights"))


def test_catalogue_json_is_the_content(site: Path) -> None:
    assert json.loads((site / "catalogue.json").read_text()) == states()


def test_the_content_that_is_given_stays_as_it_is(tmp_path: Path) -> None:
    content = states()
    make(tmp_path / "site", content, Bundles({("moved", "figures/result.png"): None}))
    assert content == states()


@pytest.mark.parametrize("content", [b"", b"<svg onload='alert(1)'/>", None])
def test_a_picture_that_is_none_is_not_shown_and_catalogue_json_says_so(tmp_path: Path, content: bytes | None) -> None:
    site = make(tmp_path / "site", catalogue(model()), Bundles({("demo_bilinear", "figures/result.png"): content}))
    assert not (site / "models/demo_bilinear/result.png").exists()
    entry = json.loads((site / "catalogue.json").read_text())["models"][0]
    assert entry["picture"] is None
    assert entry["figures"] == {"confusion": "models/demo_bilinear/confusion.png"}
    assert not page(site, "index").all("img")


def test_a_file_that_is_gone_is_not_offered(tmp_path: Path) -> None:
    site = make(tmp_path / "site", catalogue(model()), Bundles({("demo_bilinear", "demo_bilinear_int8.tflite"): None}))
    offered = {given["href"] for given in page(site, "demo_bilinear").all("a") if "download" in given}
    assert offered == {"../models/demo_bilinear/demo_bilinear_float32.tflite"}


def test_files_of_a_release_are_linked_where_they_are(tmp_path: Path) -> None:
    entry = model()
    for variant in entry["variants"]:
        variant["download"] = "../demo_bilinear.tar.xz"
    site = make(tmp_path / "site", catalogue(entry | {"files": []}))
    assert "../../demo_bilinear.tar.xz" in {given.get("href") for given in page(site, "demo_bilinear").all("a")}


def test_a_folder_that_is_no_site_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("keep me")
    with pytest.raises(BuildError, match="is not a site"):
        make(tmp_path / "home", states())
    assert files_of(tmp_path / "home") == {"letter.txt": b"keep me"}


def test_a_write_that_fails_leaves_the_old_site(tmp_path: Path) -> None:
    site = make(tmp_path / "site", states())
    before = files_of(site)

    def broken(*_: str) -> bytes | None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        write_site(states(), {}, broken, site)
    assert files_of(site) == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


# The pages as HTML


def test_every_page_is_well_formed_and_its_ids_are_unique(site: Path) -> None:
    found = pages(site)
    assert len(found) == len(states()["models"]) + 1
    for each in found:
        assert len(each.ids) == len(set(each.ids)), each.file
        assert len(each.all("h1")) == 1, each.file
        assert len(each.all("main")) == 1, each.file


def test_headings_go_down_one_level_at_a_time(site: Path) -> None:
    for each in pages(site):
        steps = [lower - upper for upper, lower in zip(each.headings, each.headings[1:], strict=False)]
        assert max(steps, default=0) <= 1, f"{each.file}: {each.headings}"


def test_every_link_leads_to_a_file_of_the_site_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    ids = {each.file.resolve(): set(each.ids) for each in pages(site)}
    for each in pages(site):
        for tag, given in each.tags:
            address = given.get("src") or given.get("href")
            if not address or address == "data:,":
                continue
            if re.match("[a-z]+:", address):
                assert tag == "a", f"{each.file} loads {address}"
                assert address.startswith("https://"), address
                continue
            path, _, anchor = address.partition("#")
            target = (each.file.parent / path).resolve() if path else each.file.resolve()
            assert target.is_file(), f"{each.file}: {address}"
            assert target.is_relative_to(site.resolve()), f"{each.file}: {address}"
            assert not anchor or anchor in ids[target], f"{each.file}: {address}"


def test_no_asset_names_another_host() -> None:
    for name in ("style.css", "catalogue.js"):
        assert not re.search(r"https?:|//[a-z]+\.", (markup.PAGES / name).read_text()), name


def test_controls_and_pictures_have_names(site: Path) -> None:
    for each in pages(site):
        assert all("alt" in given for given in each.all("img")), each.file
        assert all({"aria-label", "aria-labelledby"} & given.keys() for given in each.all("section")), each.file
        for given in each.all("section"):
            assert given.get("aria-labelledby", each.ids[0]) in each.ids
    index = (site / "index.html").read_text()
    assert not re.findall(r"<(?:select|input)\b", re.sub(r"<label\b.*?</label>", "", index, flags=re.DOTALL))


def test_without_javascript_controls_are_hidden_and_all_models_and_verdicts_are_there(site: Path) -> None:
    index = page(site, "index")
    hidden = {given["id"] for _, given in index.tags if "hidden" in given}
    assert hidden == {"theme", "filters", "tabs", "none"}
    for entry in states()["models"]:
        assert entry["title"] in index.text
    assert index.text.count("damaged") >= 1


# Text of strangers


def hostile(value: Any, evil: str) -> Any:
    """Every text replaced, but those that choose how the page is made, and names."""
    if isinstance(value, str):
        return evil
    if isinstance(value, list):
        return [hostile(item, evil) for item in value]
    return {key: hostile(item, evil) for key, item in value.items()} if isinstance(value, dict) else value


#: What chooses how a page is made, or is changed part by part.
KEPT = {"name", "group", "page", "picture", "figures", "matrix", "npu", "boards", "files", "variants", "try", "classes"}


def evil_model() -> dict[str, Any]:
    """A whole model of which every text is hostile."""
    entry = next(each for each in states()["models"] if each["name"] == "does_not_run")
    found = {key: value if key in KEPT else hostile(value, EVIL) for key, value in entry.items()}
    report = hostile(states()["models"][0]["reports"][0], EVIL) | {"emulated": False, "ms": 1.0}
    findings = [hostile(catalogues.NEAREST, EVIL)]
    layers = [layer | {"operator": EVIL, "name": EVIL} for layer in entry["npu"][0]["layers"]]
    file = {"variant": EVIL, "file": EVIL, "verdict": EVIL, "download": None}
    return found | {
        "reports": [report],
        "warnings": [EVIL],
        "classes": {"labels": [EVIL], "confusion": {}, "scores": {EVIL: {"0": 1.0}}},
        "matrix": [cell | {"by": EVIL, "findings": findings} for cell in entry["matrix"]],
        "boards": [board(EVIL, EVIL, caution=EVIL)],
        "npu": [each | {"vela": EVIL, "layers": layers} for each in entry["npu"]],
        "variants": [each | file for each in entry["variants"]],
        "files": [each | {"name": EVIL, "path": None} for each in entry["files"]],
        "try": {"kind": EVIL},
    }


def test_text_of_a_bundle_is_shown_and_never_markup(tmp_path: Path) -> None:
    broken = {"name": EVIL, "title": EVIL, "page": None, "damaged": EVIL}
    card = (
        f"# {EVIL}\n\n{EVIL} [x]({EVIL}) ![{EVIL}](figures/result.png)\n\n| a | {EVIL} |\n|---|---|\n| {EVIL} | b |\n"
    )
    content = catalogue(evil_model(), broken)
    site = make(tmp_path / "site", content, Bundles({("does_not_run", "README.md"): card.encode()}))
    for each in pages(site):  # well-formed, or they raise
        scripts = each.all("script")
        assert all(given.get("src") or given.get("type") == "application/json" for given in scripts), each.file
        assert not [given for _, given in each.tags if any(name.startswith("on") for name in given)], each.file
        assert all(given["src"].startswith(("models/", "does_not_run/")) for given in each.all("img")), each.file
        assert not [given for given in each.all("a") if "javascript" in given.get("href", "")], each.file
        raw = each.file.read_text()
        assert "\u202e" not in raw
        assert "\0" not in raw
        assert '<script>alert("x")</script>' in each.text, "it is shown, letter by letter"
        assert "{{ 7*7 }}" in each.text
    assert [file.name for file in (site / "models").iterdir() if file.suffix == ".html"] == ["does_not_run.html"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "con trol", "<b>", ""])
def test_a_damaged_bundle_with_an_odd_name_has_a_card_and_no_page(tmp_path: Path, name: str) -> None:
    entry = {"name": name, "title": "odd", "page": f"models/{name}.html", "damaged": "its name is odd"}
    site = make(tmp_path / "site", catalogue(entry, model()))
    assert sorted(file.name for file in site.rglob("*.html")) == ["demo_bilinear.html", "index.html"]
    assert "its name is odd" in page(site, "index").words


@pytest.mark.parametrize("path", ["models/demo_bilinear/../../../up.tflite", "models/demo_bilinear//etc/passwd"])
def test_no_path_of_the_content_leaves_the_site(tmp_path: Path, path: str) -> None:
    entry = model()
    entry["variants"][0]["download"] = entry["files"][0]["path"] = path
    site = make(tmp_path / "site", catalogue(entry))
    assert [file.name for file in tmp_path.iterdir()] == ["site"]
    assert path not in (site / "models/demo_bilinear.html").read_text()
    assert not list(site.rglob("up.tflite"))


@pytest.mark.parametrize(
    "svg",
    [
        "<svg><script>1</script></svg>",
        '<svg onload="x()"/>',
        '<svg><image href="https://x"/></svg>',
        '<a href="javascript:x"/>',
    ],
)
def test_a_plot_with_more_than_a_drawing_is_refused(tmp_path: Path, svg: str) -> None:
    with pytest.raises(BuildError, match="no part of a drawing"):
        write_site(catalogue(model()), {"accuracy-x": svg}, Bundles(), tmp_path / "site")
    assert not list(tmp_path.iterdir())


def test_a_plot_with_links_is_a_group_and_a_chart_an_image(site: Path) -> None:
    assert [given["role"] for given in page(site, "index").all("svg")] == ["group"]
    assert [given["role"] for given in page(site, "moved").all("svg")] == ["img"]


# Cards


def test_a_card_is_rendered_without_html_pictures_of_others_and_dead_links(site: Path) -> None:
    raw = (site / "models/own_weights.html").read_text()
    card = raw[raw.index('id="card"') :]
    assert "<strong>A demo.</strong> Of <em>nothing</em> real." in card
    assert "<h3>own_weights</h3>" in card
    assert "<td>MIT</td>" in card
    assert "<th>At a glance</th>\n<td></td>" in card
    assert "<h4>On boards</h4>" in card
    assert "boards: begin" not in card
    assert 'src="own_weights/result.png" alt="Input and output"' in card
    assert "&lt;b&gt;bold&lt;/b&gt;" in card
    assert "evil.example" not in raw
    assert "tracked" in card
    assert 'href="https://github.com/owner/name/tree/main"' in card
    assert "a file" in card
    assert 'href="model.json"' not in card
    assert "<code>python3 example.py" in card


def test_a_bundle_without_a_card_has_a_page(tmp_path: Path) -> None:
    site = make(tmp_path / "site", catalogue(model()), Bundles({("demo_bilinear", "README.md"): None}))
    found = page(site, "demo_bilinear")
    assert "card" not in found.ids
    assert "Drawn digits with bilinear upsampling" in found.words


# What the pages say


def test_a_page_names_the_state_of_its_bundle(site: Path) -> None:
    said = {entry["name"]: page(site, entry["name"]).words for entry in states()["models"]}
    assert "A demo. It shows the pipeline. Its accuracy says nothing about real data." in said["demo_nearest"]
    assert "User-supplied weights. The numbers and hashes on this page are of these weights" in said["own_weights"]
    assert "Not redistributable. A licence does not let these files be given away." in said["not_ours"]
    assert "docker/run doit not_ours" in said["not_ours"]
    assert "This bundle is damaged. manifest.json: is not JSON" in said["half_there"]
    assert "docker/run doit half_there" in said["half_there"]
    assert "Do not deploy on i.MX 8M Plus, NPU through the VX delegate (every BSP)." in said["does_not_run"]
    wrong = "Published by others, with their own file: outputs are wrong: It repeats itself."
    assert f"Wrong on a board: i.MX 8M Plus, NPU. {wrong}" in said["does_not_run"]
    for name, words in said.items():
        says_so = "No board has run these files." in words
        assert says_so == (name not in ("as_it_should_be", "half_there")), name


def test_what_example_py_found_wrong_stands_first(tmp_path: Path) -> None:
    entry = model()
    entry["variants"][1]["verdict"] = "FIXED_OUTPUT"
    words = page(make(tmp_path / "site", catalogue(entry)), "demo_bilinear").words
    assert "example.py found these files wrong. demo_bilinear_int8.tflite: FIXED_OUTPUT." in words


def test_no_verdict_stands_alone(site: Path) -> None:
    raw = (site / "index.html").read_text()
    found = re.findall(
        r'<li class="b (\w+)( u)?"><b>([^<]*)</b>.*?<span>(.*?)</span><em[^>]*>(.*?)</em></li>', raw, re.DOTALL
    )
    assert len(found) >= len(states()["models"])
    for verdict, hollow, name, placement, correctness in found:
        assert name.endswith(", NPU")
        assert "predicted" in placement
        assert bool(hollow) == ("tested:" not in correctness), correctness
        assert correctness
        assert verdict != "green" or not hollow or correctness.startswith("untested")


def test_a_time_says_whether_it_is_measured_published_or_estimated(site: Path) -> None:
    tested, other = page(site, "as_it_should_be").words, page(site, "moved").words
    assert "measured by us NPU, int8" in tested
    assert "estimated NPU, int8" in tested
    assert "tested: outputs are right (imx93evk, 2026-11-02, LF6.12); slower than the CPU: 12 ms against 8 ms" in tested
    assert "published CPU (1 thread), int8" in other
    index = (site / "index.html").read_text()
    assert re.search(r"<i>12 ms<small>measured by us</small></i>", index)
    assert re.search(r"<i>0.048 ms<small>estimated</small></i>", index)
    assert re.search(r'<em class="warn">tested: outputs are right', index)
    assert "own file: outputs are wrong; slower than the CPU: 9 ms against 8 ms</em>" in index


def verdicts_in(site: Path) -> dict[tuple[str, str, str], tuple[str, str]]:
    """(accelerator, model, BSP) -> verdict and words, as a reader of the tables takes them."""
    raw, found = (site / "index.html").read_text(), {}
    for accelerator, table in re.findall(r'<table class="matrix" data-on="(\w+)">(.*?)</table>', raw, re.DOTALL):
        columns = [name.removesuffix(" *") for name in re.findall(r'<th scope="col"><span>([^<]*)</span>', table)]
        assert columns == BSPS
        for name, cells in re.findall(r'<tr><th scope="row">(?:<a [^>]*>)?(\w+).*?</th>(.*?)</tr>', table, re.DOTALL):
            at = 0
            for verdict, span, words in re.findall(r'<td class="(\w+)"(?: colspan="(\d+)")?>(.*?)</td>', cells):
                for _ in range(int(span or 1)):
                    found[accelerator, name, columns[at]] = (verdict, re.sub("<[^>]*>", "", words))
                    at += 1
            assert at == len(BSPS), f"{accelerator} {name}"
    return found


def test_the_matrix_says_what_catalogue_json_says(site: Path) -> None:
    found = verdicts_in(site)
    for entry in states()["models"]:
        for cell in entry.get("matrix", ()):
            if cell["accelerator"] == "cpu":
                assert cell["verdict"] == "green"
                continue
            verdict, words = found.pop((cell["accelerator"], entry["name"], cell["bsp"]))
            assert verdict == cell["verdict"]
            assert words == f"{verdict} {cell['placed']}/{cell['total']}"
    assert {(name, *told) for (_, name, _), told in found.items()} == {("half_there", "none", "damaged")}
    assert "CPU of either board: green for every model and every BSP." in page(site, "index").words


def test_a_cpu_that_cannot_run_a_model_has_a_table(tmp_path: Path) -> None:
    entry = model(matrix=catalogues.cells({"cpu": [("red", 16, [catalogues.LEFT]), ("green", 16, [])]}, 16))
    found = verdicts_in(make(tmp_path / "site", catalogue(entry)))
    assert found["cpu", "demo_bilinear", BSPS[0]] == ("red", "red")
    assert found["cpu", "demo_bilinear", BSPS[-1]] == ("green", "green")


def test_a_vela_that_was_asked_and_a_gap_are_named(tmp_path: Path) -> None:
    entry = model()
    cells = [cell for cell in entry["matrix"] if (cell["accelerator"], cell["bsp"]) != ("vx", BSPS[3])]
    cells = [cell | ({"by": "Vela 4.3.0"} if cell["accelerator"] == "ethos_u" else {}) for cell in cells]
    found = verdicts_in(make(tmp_path / "site", catalogue(entry | {"matrix": cells})))
    assert found["vx", "demo_bilinear", BSPS[3]] == ("none", "unknown")
    assert found["vx", "demo_bilinear", BSPS[4]] == ("green", "green 16/16")
    assert found["ethos_u", "demo_bilinear", BSPS[0]] == ("green", "green 16/16, Vela 4.3.0")


def test_a_verdict_leads_to_its_findings_and_remedies(site: Path) -> None:
    raw = (site / "index.html").read_text()
    for finding in (catalogues.NEAREST, catalogues.BATCH, catalogues.LEFT):
        number = re.search(rf'<div id="(f\d+)"><dt>[^<]*<code>{finding["id"]}</code></dt><dd>([^<]*)', raw)
        assert number
        assert number[2].replace("&#39;", "'") == finding["remedy"]
    batch = re.search(r'<a href="#(f\d+)" data-f="(f\d+) (f\d+) ">yellow 10/16</a>', raw)
    assert batch
    assert batch[1] == batch[2] != batch[3]


def test_a_page_says_what_moved_since_the_previous_release(site: Path) -> None:
    moved, new = page(site, "moved").words, page(site, "new_here").words
    assert "float32: the same file, byte for byte." in moved
    assert (
        "int8: another file. top-1 97.00 % before, 98.20 % now (+1.20 points). 34,000 bytes before, 33,856 now."
        in moved
    )
    assert "That release does not have this model." in new


def test_commands_are_of_this_model(site: Path) -> None:
    raw = (site / "models/own_weights.html").read_text()
    commands = re.findall(r'<pre class="cmd"><code>(.*?)</code></pre>', raw, re.DOTALL)
    assert "docker/run doit own_weights" in commands
    assert (
        "sha256sum -c SHA256SUMS\npython3 example.py\npython3 example.py -m own_weights_int8.tflite -i inputs"
        in commands
    )


def test_try_it_gets_its_entry_and_loads_nothing_by_itself(site: Path) -> None:
    raw = (site / "models/moved.html").read_text()
    assert '<section id="try" data-model="moved"' in raw
    data = re.search(r'<script type="application/json" id="try-data">(.*?)</script>', raw)
    assert data
    assert json.loads(data[1]) == next(each["try"] for each in states()["models"] if each["name"] == "moved")
    assert "try.js" not in raw
    assert 'id="try"' not in (site / "models/own_weights.html").read_text()


# Two hundred models


def test_the_overview_of_200_models_stays_under_300_kb(tmp_path: Path) -> None:
    content = catalogues.two_hundred()
    site = make(tmp_path / "site", content)
    sizes = {name: (site / name).stat().st_size for name in ("index.html", "style.css", "catalogue.js")}
    assert sum(sizes.values()) < 300_000, sizes
    assert len(verdicts_in(site)) == 200 * 2 * len(BSPS)


def test_many_plots_are_on_a_page_of_their_own(site: Path, tmp_path: Path) -> None:
    assert (site / "index.html").read_text().count("<svg") == 1
    crowd = make(tmp_path / "site", catalogues.two_hundred())
    index, plots = page(crowd, "index"), Page(crowd / "plots.html")
    assert not index.all("svg")
    assert "plots.html" in {given["href"] for given in index.all("a")}
    assert len(plots.all("svg")) == 4
    assert {given["href"] for given in plots.all("a")} >= {f"models/network_{number:03}.html" for number in range(200)}


# Numbers


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (33_856, "33.9 kB"),
        (999_600, "1.00 MB"),
        (102_000_000, "102 MB"),
        (5_000_000_000, "5.00 GB"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(size: int, text: str) -> None:
    assert markup._bytes(size) == text


@pytest.mark.parametrize(
    ("ms", "text"), [(0.048, "0.048 ms"), (3.456, "3.46 ms"), (123.31, "123 ms"), (1104.2, "1,104 ms")]
)
def test_times_have_three_digits(ms: float, text: str) -> None:
    assert markup._ms(ms) == text


## Rebuilds


def test_rebuilds_are_on_both_pages(tmp_path: Path) -> None:
    told = {"name": "lab", "commit": "c" * 40, "builder": "image", "cpu": EVIL, "time": "2026-10-01T12:00:00Z"}
    content = catalogue(model(rebuilds=[told, told | {"name": EVIL, "builder": "venv"}]), model("other"))
    made = make(tmp_path / "site", content)
    assert page(made, "index").words.count("Rebuilt by 2 others, with the same bytes.") == 1
    shown = page(made, "demo_bilinear")
    assert "Rebuilt by 2 others" in shown.words
    assert "lab, image, " in shown.words
    assert "c" * 12 in shown.words
    assert not [given for given in shown.all("img") if given.get("src") == "x"]
    assert "Rebuilt" not in page(made, "other").words


def test_rebuilds_with_other_bytes_are_a_warning_on_both_pages(tmp_path: Path) -> None:
    told = {"name": EVIL, "commit": "c" * 40, "builder": "image", "cpu": EVIL, "time": "2026-10-01T12:00:00Z"}
    made = make(tmp_path / "site", catalogue(model(rebuilds_failed=[told]), model("other")))
    assert "Rebuilt by 1 other, with other bytes." in page(made, "index").words
    shown = page(made, "demo_bilinear")
    assert "Rebuilt with other bytes. By " in shown.words
    assert "Rebuilt with other bytes by 1 other" in shown.words
    assert not [given for given in shown.all("img") if given.get("src") == "x"]
    assert "other bytes" not in page(made, "other").words
