"use strict";

/* What makes the page handier: the theme's switch, the contents, long tables, values of charts, copying.
   All of it can be read without. Texts of the data are only ever set as text, never as markup. */

(() => {
  const root = document.documentElement;

  const create = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
  const shown = (value) => (Number.isInteger(value) ? value.toLocaleString("en") : number.format(value));

  // ---- theme: the system's, until the reader chooses the other one --------------------------------

  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
  const memory = {
    // A page from a file may be refused a memory.
    read() { try { return localStorage.getItem("gptsmith-theme"); } catch { return null; } },
    write(theme) {
      try {
        if (theme) localStorage.setItem("gptsmith-theme", theme);
        else localStorage.removeItem("gptsmith-theme");
      } catch { /* chosen for this visit only */ }
    },
  };
  const chosen = memory.read();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen; // before anything is painted

  const themeSwitch = (button) => {
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);
    const show = () => button.setAttribute("aria-pressed", String(isDark()));
    button.addEventListener("click", () => {
      const wantsDark = !isDark();
      if (wantsDark === systemIsDark.matches) delete root.dataset.theme;
      else root.dataset.theme = wantsDark ? "dark" : "light";
      memory.write(root.dataset.theme);
      show();
    });
    systemIsDark.addEventListener("change", show);
    show();
    button.hidden = false;
  };

  // ---- contents: closed where it covers the page, the current section marked, and its parts below it --

  const contents = (nav) => {
    const box = nav.querySelector("details");
    const narrow = matchMedia("(max-width: 62rem)");
    const fold = () => { box.open = !narrow.matches; };
    narrow.addEventListener("change", fold);
    fold();

    const target = (link) => document.getElementById(link.hash.slice(1));
    for (const link of nav.querySelectorAll("a")) {
      const parts = [...target(link).querySelectorAll("h3[id]")];
      if (parts.length) link.after(create("ol", {}, ...parts.map((part) =>
        create("li", {}, create("a", { href: `#${part.id}` }, part.textContent)))));
    }
    const links = [...nav.querySelectorAll("a")];
    const sections = links.map(target);
    let waiting = false;
    const mark = () => {
      waiting = false;
      if (narrow.matches && box.open) return; // it moves the page down, and nobody reads on
      const atEnd = innerHeight + scrollY >= root.scrollHeight - 2;
      const reached = sections.filter((section) => section.getBoundingClientRect().top < innerHeight / 3);
      const current = atEnd && scrollY > 0 ? sections.at(-1) : reached.at(-1) ?? sections[0];
      links.forEach((link, place) => {
        if (sections[place] === current) link.setAttribute("aria-current", "location");
        else link.removeAttribute("aria-current");
      });
    };
    addEventListener("scroll", () => { if (!waiting) { waiting = true; requestAnimationFrame(mark); } }, { passive: true });
    mark();
    box.addEventListener("click", (event) => { if (narrow.matches && event.target.closest("a")) box.open = false; });
  };

  // ---- heads that sort ------------------------------------------------------------------------------

  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" ? a - b : collator.compare(a, b);
  };

  /* Buttons in the head cells. `sort(column, direction)` is called with 1, -1, or 0 for the first order. */
  const sortable = (heads, isNumber, sort) => {
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = create("button", { type: "button", class: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const first = isNumber(column) ? "descending" : "ascending";
        const second = isNumber(column) ? "ascending" : "descending";
        const next = { [first]: second, [second]: null }[head.getAttribute("aria-sort")];
        const order = next === undefined ? first : next;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (order) head.setAttribute("aria-sort", order);
        sort(column, { ascending: 1, descending: -1 }[order] ?? 0);
      });
    });
  };

  const sortableTable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const isNumber = (column) => heads[column].classList.contains("n");
    const value = (row, column) => {
      const cell = row.cells[column];
      const text = cell.dataset.sort ?? cell.textContent.trim();
      if (!isNumber(column)) return text;
      const found = parseFloat(text.replaceAll(",", "").replace("−", "-"));
      return Number.isNaN(found) ? null : found;
    };
    sortable(heads, isNumber, (column, direction) => {
      const key = (row) => value(row, column);
      const sorted = direction ? rows.toSorted((a, b) => withNullsLast(key(a), key(b), direction)) : rows;
      body.append(...sorted);
    });
  };
  const withNullsLast = (a, b, direction) => (a === null || b === null ? compare(a, b) : direction * compare(a, b));

  // ---- tables of any length ---------------------------------------------------------------------------

  const PREVIEW = 280; // characters
  const PREVIEW_LINES = 6;
  const ROWS_A_PAGE = 25;
  const MOST_CHOICES = 30;
  const PAUSE = 40; // milliseconds without a key before the search starts

  const isolated = (text) => {
    const element = create("bdi", { class: "data" });
    element.textContent = text;
    return element;
  };

  /* The beginning of a long text, null for one that is shown whole: as `preview` of data_table.py. */
  const preview = (text) => {
    const lines = text.split("\n");
    const start = [...lines.slice(0, PREVIEW_LINES).join("\n")].slice(0, PREVIEW).join("");
    return length(text) > length(start) + 80 || lines.length > PREVIEW_LINES + 1 ? start : null;
  };
  const length = (text) => [...text].length; // in characters, not in halves of them

  const cell = (value, { name, kind, digits }) => {
    const element = create("td", { class: kind, role: "cell", "data-head": name });
    const start = kind === "text" ? preview(value) : null;
    if (start !== null) {
      const more = create("span", { class: "cut" }, `… ${shown(length(value) - length(start))} more`);
      const summary = create("summary", {}, isolated(start), more);
      element.append(create("details", { class: "long" }, summary, isolated(value)));
    } else {
      if (kind === "label" && "✓✗".includes(value[0] ?? " ")) element.classList.add(value[0] === "✓" ? "better" : "worse");
      element.append(isolated(value === null ? "–" : kind === "number" ? value.toFixed(digits) : value));
    }
    return element;
  };

  const dataTable = (box) => {
    const { columns: heads, rows } = JSON.parse(box.querySelector("script").textContent);
    const columns = heads.map(([name, kind, digits]) => ({ name, kind, digits }));
    const table = box.querySelector("table");
    const caption = table.caption.textContent;
    const body = table.tBodies[0];
    let order = rows.map((_, row) => row);
    let hits = order;
    let page = 0;
    let texts = null; // every row as one text to search in, made at the first search
    const wanted = new Map(); // column -> the one label to show

    const search = create("input", { type: "search", autocomplete: "off", spellcheck: "false" });
    const count = create("span", { class: "hits", role: "status" });
    const tools = create("div", { class: "tools", role: "group", "aria-label": `Find in: ${caption}` },
      create("label", {}, "Search ", search));

    columns.forEach(({ name, kind }, column) => {
      if (kind !== "label") return;
      const labels = [...new Set(rows.map((row) => row[column]))].sort(collator.compare);
      if (labels.length < 2 || labels.length > MOST_CHOICES) return;
      const choice = create("select", {}, create("option", { value: "" }, "all"));
      labels.forEach((label, place) => choice.append(create("option", { value: String(place) }, label || "(none)")));
      choice.addEventListener("change", () => {
        if (choice.value === "") wanted.delete(column);
        else wanted.set(column, labels[Number(choice.value)]);
        find();
      });
      tools.append(create("label", {}, `${name} `, choice));
    });
    tools.append(count);

    const back = create("button", { type: "button" }, "‹ Previous");
    const on = create("button", { type: "button" }, "Next ›");
    const place = create("span", { class: "n" });
    const pages = create("div", { class: "pages", role: "group", "aria-label": `Pages of: ${caption}` }, back, place, on);

    const show = () => {
      const start = page * ROWS_A_PAGE;
      const now = hits.slice(start, start + ROWS_A_PAGE);
      body.replaceChildren(...now.map((row) => create("tr", { role: "row" },
        ...rows[row].map((value, column) => cell(value, columns[column])))));
      pages.hidden = hits.length <= ROWS_A_PAGE;
      place.textContent = `${shown(start + 1)}–${shown(start + now.length)} of ${shown(hits.length)}`;
      // Not `disabled`: the button that was just pressed would lose the focus.
      back.setAttribute("aria-disabled", String(page === 0));
      on.setAttribute("aria-disabled", String(start + now.length >= hits.length));
    };
    const find = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (words.length) texts ??= rows.map((row) => row.join("\n").toLowerCase());
      hits = order.filter((row) => words.every((word) => texts[row].includes(word))
        && [...wanted].every(([column, label]) => rows[row][column] === label));
      page = 0;
      count.textContent = hits.length === rows.length ? `${shown(rows.length)} rows` : `${shown(hits.length)} of ${shown(rows.length)} rows`;
      show();
    };
    const turn = (pagesOn) => {
      const last = Math.max(0, Math.ceil(hits.length / ROWS_A_PAGE) - 1);
      const next = Math.min(Math.max(page + pagesOn, 0), last);
      if (next === page) return;
      page = next;
      show();
      if (box.getBoundingClientRect().top < 0) box.scrollIntoView();
    };
    back.addEventListener("click", () => turn(-1));
    on.addEventListener("click", () => turn(1));

    let pause;
    search.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(find, PAUSE); });

    sortable([...table.tHead.rows[0].cells], (column) => columns[column].kind === "number", (column, direction) => {
      order = rows.map((_, row) => row);
      if (direction) order.sort((a, b) => withNullsLast(rows[a][column], rows[b][column], direction));
      find();
    });
    // On a phone the style makes blocks of rows and cells, which takes their meaning from them.
    table.setAttribute("role", "table");
    for (const group of [table.tHead, body]) group.setAttribute("role", "rowgroup");
    table.tHead.rows[0].setAttribute("role", "row");
    for (const head of table.tHead.rows[0].cells) head.setAttribute("role", "columnheader");
    box.prepend(tools);
    table.parentElement.after(pages);
    find();
  };

  // ---- charts: the value nearest to the pointer, or by arrow keys, or all as a table --------------------

  const chart = (svg) => {
    const { x, y, series } = JSON.parse(svg.dataset.points);
    const figure = svg.closest("figure") ?? svg.parentElement;
    const { width, height } = svg.viewBox.baseVal;
    const names = seriesNames(series, figure);
    const label = (axis, value) => (axis ? `${axis}: ` : "") + (typeof value === "number" ? shown(value) : value);
    const points = series.flatMap(({ points }, line) => points.map((point) => ({ line, point })));
    if (!points.length) return;

    const mark = document.createElementNS(svg.namespaceURI, "circle");
    mark.setAttribute("r", "3.4");
    mark.setAttribute("class", "mark");
    const tip = create("div", { class: "tip", role: "status" });
    figure.append(tip);
    figure.classList.add("with-tip");

    const hide = () => { tip.replaceChildren(); mark.remove(); };
    const show = ({ line, point: [left, top, valueX, valueY, range] }) => {
      mark.setAttribute("cx", left);
      mark.setAttribute("cy", top);
      mark.setAttribute("style", `--role: var(--${series[line].role})`);
      svg.append(mark);
      const lines = [label(x, valueX), label(y, valueY)];
      if (range) lines.push(`interval: ${shown(range[0])} to ${shown(range[1])}`);
      const name = create("strong");
      name.textContent = names[line];
      tip.replaceChildren(...(names[line] ? [name] : []), ...lines.map((text) => create("span", {}, text)));
      const area = svg.getBoundingClientRect();
      const frame = figure.getBoundingClientRect();
      const scale = area.width / width;
      const middle = area.left - frame.left + left * scale;
      const most = Math.min(frame.width, document.documentElement.clientWidth - frame.left) - tip.offsetWidth;
      tip.style.left = `${Math.max(0, Math.min(middle - tip.offsetWidth / 2, most))}px`;
      const above = area.top - frame.top + top * scale - tip.offsetHeight - 10;
      tip.style.top = `${frame.top + above > 0 ? above : above + tip.offsetHeight + 22}px`;
    };

    const nearest = (event) => {
      const area = svg.getBoundingClientRect();
      const left = ((event.clientX - area.left) / area.width) * width;
      const top = ((event.clientY - area.top) / area.height) * height;
      const distance = ({ point }) => Math.hypot(point[0] - left, point[1] - top);
      return points.reduce((best, one) => (distance(one) < distance(best) ? one : best));
    };
    for (const kind of ["pointermove", "pointerdown"]) svg.addEventListener(kind, (event) => show(nearest(event)));
    svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });

    const area = create("div", { class: "values-by-key", tabindex: "0", role: "group",
      "aria-label": `${svg.querySelector("title").textContent}. Values: arrow keys.` });
    svg.replaceWith(area);
    area.append(svg);
    let line = 0;
    let at = series.map(() => 0);
    const current = () => ({ line, point: series[line].points[at[line]] });
    const filled = series.map((_, index) => index).filter((index) => series[index].points.length);
    line = filled[0];
    area.addEventListener("focus", () => { if (area.matches(":focus-visible")) show(current()); });
    area.addEventListener("blur", hide);
    area.addEventListener("keydown", (event) => {
      const along = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const across = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const last = series[line].points.length - 1;
      if (event.key === "Escape") return hide();
      if (along) at[line] = Math.min(Math.max(at[line] + along, 0), last);
      else if (across) line = filled.at((filled.indexOf(line) + across) % filled.length);
      else if (event.key === "Home") at[line] = 0;
      else if (event.key === "End") at[line] = last;
      else return;
      event.preventDefault();
      show(current());
    });

    const all = create("details", { class: "values" }, create("summary", {}, "Values"));
    all.addEventListener("toggle", () => {
      if (all.querySelector("table")) return;
      const head = ["Line", x || "Value", y || "Of"].map((text) => create("th", { scope: "col" }, text));
      const body = points.map(({ line, point: [, , valueX, valueY] }) => create("tr", {},
        create("th", { scope: "row" }, names[line]), ...[valueX, valueY].map((value) =>
          create("td", typeof value === "number" ? { class: "n" } : {}, typeof value === "number" ? shown(value) : value))));
      const table = create("table", {}, create("thead", {}, create("tr", {}, ...head)), create("tbody", {}, ...body));
      all.append(create("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Values" }, table));
    });
    figure.append(all);
  };

  /* The legend's word for each line, found by colour and shape; lines of one name are numbered. */
  const seriesNames = (series, figure) => {
    const legend = [...figure.querySelectorAll(".legend li")].map((item) => {
      const sample = item.querySelector("i");
      return { role: sample.getAttribute("style"), shape: sample.className, text: item.textContent.trim() };
    });
    const names = series.map(({ role, shape }) => {
      const same = legend.filter((entry) => entry.role.includes(`--${role})`));
      return (same.find((entry) => entry.shape === shape) ?? same[0])?.text ?? "";
    });
    return names.map((name, place) => {
      const among = names.filter((other) => other === name).length;
      const which = names.slice(0, place + 1).filter((other) => other === name).length;
      return name && among > 1 ? `${name} (${which} of ${among})` : name;
    });
  };

  // ---- copying, and scrolling by keyboard -----------------------------------------------------------------

  const copyable = (block) => {
    const button = create("button", { type: "button", class: "copy" }, "Copy");
    const said = create("span", { role: "status", class: "unseen" });
    const box = create("div", { class: "copyable" });
    block.replaceWith(box);
    box.append(block, button, said);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(block.textContent);
        button.textContent = said.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(block); // ready for Ctrl-C
        button.textContent = said.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 2000);
    });
  };

  const scrollable = (box) => {
    const caption = box.querySelector("caption, th")?.textContent.trim() || "Text";
    const check = () => {
      const overflows = box.scrollWidth > box.clientWidth + 1;
      for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", caption]]) {
        if (overflows) box.setAttribute(name, value);
        else box.removeAttribute(name);
      }
    };
    new ResizeObserver(check).observe(box);
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("button.theme").forEach(themeSwitch);
    document.querySelectorAll("nav").forEach(contents);
    document.querySelectorAll("table.sortable").forEach(sortableTable);
    document.querySelectorAll("div.items").forEach(dataTable);
    document.querySelectorAll("svg[data-points]").forEach(chart);
    document.querySelectorAll("pre").forEach(copyable);
    document.querySelectorAll(".scroll, pre").forEach(scrollable);
  });
})();
