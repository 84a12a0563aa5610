// What the pages can do beyond being read: theme, filters, sorting, findings at a verdict, copying, "try it".
(() => {
  "use strict";

  const KEY = "nxp-model-zoo-theme";
  const root = document.documentElement;
  const one = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const make = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

  // Before anything is drawn: the theme that was chosen last. A browser may keep nothing for a file.
  const stored = (value) => {
    try {
      if (value) localStorage.setItem(KEY, value);
      return localStorage.getItem(KEY);
    } catch {
      return value;
    }
  };
  const chosen = stored();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;

  function theme() {
    const button = one("#theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const label = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      stored(root.dataset.theme);
      label();
    });
    system.addEventListener("change", label);
    button.hidden = false;
    label();
  }

  // Filters. The page itself is the data: a card has its task, licence and numbers, a matrix its verdicts.

  function filters() {
    const form = one("#filters");
    if (!form) return;
    const bsps = [...form.elements.bsp.options].slice(1).map((option) => option.value);
    const lanes = all("[data-on]").map((element) => ({
      element, // a table, or a sentence: green for every model and BSP
      accelerator: element.dataset.on,
      text: one("caption, b", element).textContent,
      rows: [...(element.tBodies?.[0].rows ?? [])],
    }));
    const models = all("#cards > .card").map((card, at) => ({
      card,
      name: card.dataset.n,
      task: card.dataset.t,
      licence: card.dataset.l,
      accuracy: Number(card.dataset.a ?? -1),
      size: Number(card.dataset.s ?? Infinity),
      words: `${card.dataset.n} ${card.textContent}`.toLowerCase(),
      rows: lanes.flatMap((lane) => lane.rows[at] ?? []),
      points: all(`.plot a[data-model="${CSS.escape(card.dataset.n)}"]`),
      verdicts: Object.fromEntries(lanes.map((lane) => [lane.accelerator, verdictsOf(card, lane.rows[at])])),
    }));
    const byName = (one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0);
    const orders = {
      name: byName,
      size: (one, other) => one.size - other.size || byName(one, other),
      accuracy: (one, other) => other.accuracy - one.accuracy || byName(one, other),
    };
    let order = "";

    function verdictsOf(card, row) {
      if (!row) return bsps.map(() => (card.matches(".damaged") ? "none" : "green"));
      return [...row.cells].slice(1).flatMap((cell) => Array(cell.colSpan).fill(cell.className));
    }
    function fits(model, wanted) {
      if (wanted.task && model.task !== wanted.task) return false;
      if (wanted.licence && model.licence !== wanted.licence) return false;
      if (!wanted.q.toLowerCase().split(/\s+/).every((word) => model.words.includes(word))) return false;
      if (!wanted.board && !wanted.bsp && !wanted.verdict) return true;
      const at = bsps.indexOf(wanted.bsp);
      return Object.entries(model.verdicts).some(
        ([accelerator, verdicts]) =>
          (!wanted.board || accelerator === wanted.board) &&
          (at < 0 ? verdicts : [verdicts[at]]).some((verdict) => (wanted.verdict ? verdict === wanted.verdict : verdict !== "none")),
      );
    }
    function apply() {
      const wanted = Object.fromEntries(new FormData(form));
      let shown = 0;
      for (const model of models) {
        const stays = fits(model, wanted);
        shown += stays;
        for (const element of [model.card, ...model.rows]) element.hidden = !stays;
        for (const point of model.points) point.classList.toggle("away", !stays);
      }
      if (order !== wanted.sort) {
        order = wanted.sort;
        models.sort(orders[order]);
        one("#cards").append(...models.map((model) => model.card));
        for (const row of models.flatMap((model) => model.rows)) row.parentElement.append(row);
      }
      one("#none").hidden = shown > 0;
      const differ = order === "accuracy" ? " Accuracies of different data sets do not compare." : "";
      one("#count").textContent = `${shown} of ${models.length} models.${differ}`;
      if (wanted.board) choose(wanted.board);
    }
    // One accelerator at a time, or all.
    const tabs = one("#tabs");
    const buttons = [{ accelerator: "", text: "All" }, ...lanes].map(({ accelerator, text }) => {
      const button = make("button", text, { type: "button" });
      button.addEventListener("click", () => choose(accelerator));
      tabs.append(button);
      return { accelerator, button };
    });
    function choose(wanted) {
      for (const { accelerator, button } of buttons) button.setAttribute("aria-pressed", String(accelerator === wanted));
      for (const lane of lanes) lane.element.hidden = Boolean(wanted) && lane.accelerator !== wanted;
    }
    choose("");
    tabs.hidden = lanes.length < 2;
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(() => { choose(""); apply(); }));
    form.addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.target.closest("input, select, textarea")) {
        event.preventDefault();
        form.elements.q.focus();
      }
    });
    form.hidden = false;
    apply(); // a browser keeps what was chosen before a reload
  }

  // What is behind a verdict, or a point of a plot: on hover and on focus; Escape closes it.

  function tips() {
    const tip = make("div", "", { id: "tip", role: "tooltip", hidden: true });
    let owner = null;
    let timer = 0;
    for (const point of all(".plot a[data-model]")) { // its title would show twice
      const title = one("title", point);
      point.dataset.tip = title.textContent;
      point.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    const lines = (element) => {
      if (element.dataset.tip) return [[element.dataset.tip]];
      const ids = (element.dataset.f ?? element.hash.slice(1)).trim().split(" ");
      return ids.map((id) => {
        const found = document.getElementById(id);
        return [one("dt", found).firstChild.textContent, `Remedy: ${one("dd", found).textContent}`];
      });
    };
    const target = (event) => event.target.closest?.(".matrix td > a, [data-tip]");
    function open(element) {
      clearTimeout(timer);
      if (owner === element) return;
      close();
      owner = element;
      tip.replaceChildren(...lines(element).flatMap((texts, at) => [...(at ? [make("hr")] : []), ...texts.map((text) => make("p", text))]));
      (element.closest("section") ?? document.body).append(tip);
      tip.hidden = false;
      place();
      element.setAttribute("aria-describedby", "tip");
    }
    function place() {
      const box = owner.getBoundingClientRect();
      const own = tip.getBoundingClientRect();
      const left = Math.max(8, Math.min(box.left, innerWidth - own.width - 8));
      const top = box.bottom + own.height + 8 < innerHeight ? box.bottom + 4 : Math.max(8, box.top - own.height - 4);
      Object.assign(tip.style, { left: `${left}px`, top: `${top}px` });
    }
    function close() {
      owner?.removeAttribute("aria-describedby");
      owner = null;
      tip.hidden = true;
    }
    const later = () => { timer = setTimeout(close, 150); };
    document.addEventListener("mouseover", (event) => {
      const element = target(event);
      if (element) open(element);
      else if (tip.contains(event.target)) clearTimeout(timer);
      else if (owner && owner !== document.activeElement) later();
    });
    document.addEventListener("focusin", (event) => { const element = target(event); if (element) open(element); else close(); });
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
    // A focus scrolls to its element, and not at once: its finding goes along.
    const follow = () => { if (owner && owner === document.activeElement) place(); else if (owner) close(); };
    addEventListener("scroll", follow, { passive: true });
  }

  // Copy buttons, with a word for screen readers.

  function copying() {
    const status = make("p", "", { className: "skip" });
    status.setAttribute("role", "status");
    for (const element of all(".cmd, [data-copy]")) {
      const text = element.dataset.copy ?? element.textContent.trimEnd();
      const button = make("button", "Copy", { type: "button", className: "copy" });
      button.setAttribute("aria-label", `Copy ${element.dataset.copy ? "the sha256" : "the command"} ${text.slice(0, 60)}`);
      button.addEventListener("click", async () => {
        const done = await copied(text);
        button.textContent = status.textContent = done ? "Copied" : "Not copied: select the text";
        setTimeout(() => { button.textContent = "Copy"; status.textContent = ""; }, 2000);
      });
      if (element.matches(".cmd")) element.append(button);
      else element.after(button);
    }
    one("main").append(status);
  }
  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return false;
    }
  }

  // "Try it": nothing of it is loaded before the button is pressed.

  function trying() {
    const section = one("#try");
    if (!section) return;
    const [button, status] = [one(".go", section), one("[role=status]", section)];
    status.textContent = "";
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.disabled = true;
      status.textContent = "Loading...";
      try {
        if (location.protocol === "file:") throw new Error("a browser loads no modules from a folder");
        await import("./try.js"); // it fills the section
        for (const each of [button, status]) each.remove();
      } catch (error) {
        const serve = "docker/run doit catalogue serve=8000";
        status.textContent = `This page cannot run the model: ${error.message}. "${serve}" serves the site on this machine.`;
        button.disabled = false;
      }
    });
  }

  addEventListener("beforeprint", () => { for (const each of all("details")) each.open = true; });
  document.addEventListener("DOMContentLoaded", () => {
    for (const part of [theme, filters, tips, copying, trying]) part();
  });
})();
