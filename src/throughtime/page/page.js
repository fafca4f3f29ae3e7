// What the controls choose goes into the two charts and the tables, and nowhere else.
// In the data null is a gradient of exactly zero; a point without `curve` has no ok network.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data");
const form = document.getElementById("controls");
const slider = document.getElementById("scale");
const FAR = -1e6; // decades, far below any frame
const TICKS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 100000];
const KINDS = {
  first_zero_lag: "plain backpropagation is exactly 0",
  first_inf_lag: "plain backpropagation is inf",
  zero: "exactly 0 beyond",
};

const minus = (x) => String(x).replace("-", "−");
const decades = (x) => (x === null ? "−∞" : minus(x));
const raised = (x) => String(Math.round(x)).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻");
const span = (median, low, high) => `${decades(median)} [${decades(low)}, ${decades(high)}]`;

/** The indices that the controls hold. */
function choice() {
  const held = new FormData(form);
  const one = (name) => Number(held.get(name));
  return {
    cells: held.getAll("cell").map(Number),
    scale: one("recurrent_scale"),
    length: one("sequence_length"),
    dtype: one("dtype"),
  };
}

/** What every row of a chart holds of its point. */
function about(point) {
  return {
    cell: data.cell[point.cell],
    scale: data.recurrent_scale[point.recurrent_scale],
    index: point.recurrent_scale,
    point,
  };
}

/** What the pointer is told of a row: the lag where there is one, then the point. */
function told({ cell, scale, lag, text, point }) {
  const [ok, all] = point.networks;
  const lines = {
    cell,
    "recurrent scale": scale,
    "lag k": lag,
    "log₁₀ gradient [10–90 %]": text,
    "log₁₀ ratio [95 %]": point.text.ratio,
    "rate, nats per step [95 %]": point.text.rate,
    verdict: point.text.verdict,
    "plain floats": point.text.plain,
    networks: `${ok} ok of ${all}`,
    status: point.status,
  };
  return Object.entries(lines).filter(([, said]) => said !== undefined);
}

/** The same as HTML, every text of it made harmless by `clean`. */
function tooltip(row, clean) {
  const lines = told(row).map(([name, said]) => [clean(String(name)), clean(String(said))]);
  return `<table>${lines.map(([n, s]) => `<tr><td class="key">${n}</td><td>${s}</td></tr>`).join("")}</table>`;
}

/** The lags of one point as rows of a chart; those with a gradient of exactly zero have no place. */
function lagRows(point) {
  const { median, low, high } = point.curve ?? { median: [] };
  const rows = median.map((m, i) => ({
    ...about(point),
    lag: data.lags[point.sequence_length][i],
    median: m,
    low: low[i] ?? FAR,
    high: high[i],
    text: span(m, low[i], high[i]),
  }));
  return rows.filter((row) => row.median !== null);
}

/** The marks of one point by lag, within the frame: a mark beyond it sits on its edge. */
function lagMarks(point, low, high) {
  const within = (y) => Math.min(Math.max(y, low), high);
  const marks = Object.entries(point.marks ?? {}).map(([kind, [lag, y]]) => ({
    ...about(point), kind, lag, median: within(y), text: `${minus(y)}, ${KINDS[kind]}`,
  }));
  if (point.status !== "ok") {
    const end = lagRows(point).at(-1) ?? { lag: 0, median: low };
    marks.push({ ...about(point), kind: "status", lag: end.lag, median: within(end.median), text: end.text });
  }
  return marks;
}

/** The frame around what is finite, which reaches no further than data.frame. */
function frame(values, least) {
  const most = data.frame;
  const low = Math.max(Math.min(-least, ...values), -most);
  const high = Math.min(Math.max(least, ...values), most);
  const margin = 0.04 * (high - low);
  return [low - margin, high + margin];
}

/** Which curves leave the frame, and how far they go. */
function leaving(points) {
  return points.flatMap((point) => {
    const finite = (point.curve?.median ?? []).filter((y) => y !== null);
    const far = finite.filter((y) => Math.abs(y) > data.frame);
    if (!far.length) return [];
    const [end] = far.sort((a, b) => Math.abs(b) - Math.abs(a));
    return [`${data.cell[point.cell]} leaves the frame, to 10${raised(end)}.`];
  });
}

/** Which cells were chosen and have no point there. */
function absent(points, chosen) {
  const missing = chosen.cells.filter((cell) => !points.some((point) => point.cell === cell));
  return missing.map((cell) => `${data.cell[cell]}: not measured at this scale, length and dtype.`);
}

function drawByLag(view, points, chosen) {
  const rows = points.flatMap(lagRows);
  const ends = rows.flatMap(({ median, low, high }) => [low === FAR ? median : low, high]);
  const [low, high] = frame(ends, 0.5);
  const marks = points.flatMap((point) => lagMarks(point, low, high));
  const dtype = data.dtype[chosen.dtype];
  const range = data.ranges[dtype].map((y, i) => ({ y, text: `${dtype} ${["underflow", "overflow"][i]}` }));
  view.data("lags", rows).data("marks", marks);
  view.data("range", range.filter(({ y }) => low < y && y < high));
  view.signal("low", low).signal("high", high).signal("last", data.sequence_length[chosen.length] - 1).run();
  key("lag-key", marks);
  const unwell = points.filter((point) => point.status !== "ok").map(said);
  notes("lag-notes", [...unwell, ...leaving(points), ...absent(points, chosen)]);
}

const said = (point) =>
  `${data.cell[point.cell]}: ${point.curve ? "left out of the median" : "no curve"}, ${point.status}.`;

function drawByScale(view, points, chosen) {
  const finite = points.flatMap((point) => point.ratio.filter((y) => y !== null));
  const low = 1.15 * Math.min(-4, ...finite), high = 1.15 * Math.max(4, ...finite);
  const rows = points.map((point) => {
    const [median, q10, q90] = point.ratio;
    return { ...about(point), median, low: median === null ? null : q10 ?? FAR, high: q90 };
  });
  const kind = (point) => (point.status !== "ok" ? "status" : point.ratio[0] === null ? "zero" : null);
  const marks = rows.map((row, i) => ({ ...row, kind: kind(points[i]), median: row.median ?? low }));
  const shown = marks.filter((mark) => mark.kind).sort((a, b) => (a.kind < b.kind ? -1 : 1));
  const scales = data.recurrent_scale, pad = 0.03 * (scales.at(-1) - scales[0]) || 0.5;
  view.data("points", rows).data("line", between(rows)).data("marks", shown).data("here", [{ scale: scales[chosen.scale] }]);
  view.signal("low", low).signal("high", high);
  view.signal("left", scales[0] - pad).signal("right", scales.at(-1) + pad);
  view.signal("ticks", [...TICKS.map((t) => -t), 0, ...TICKS].filter((t) => low < t && t < high)).run();
  key("scale-key", shown);
  const unwell = new Set(points.filter((point) => point.status !== "ok").map((point) => data.cell[point.cell]));
  notes("scale-notes", [...unwell].map((cell) => `${cell}: not all networks are ok at every scale.`));
}

/** Rows with more between them, linear in decades as the stable bands are, and not in the axis. */
function between(rows, steps = 16) {
  const mix = (a, b, t) => (a === null || b === null ? null : a + (b - a) * t);
  return rows.flatMap((row, i) => {
    const next = rows[i + 1];
    if (next?.cell !== row.cell) return [row];
    return Array.from({ length: steps }, (_, j) => {
      const at = (name) => (j ? mix(row[name], next[name], j / steps) : row[name]);
      return { cell: row.cell, scale: at("scale"), median: at("median"), low: at("low"), high: at("high") };
    });
  });
}

/** Of the key, what is in the chart. */
function key(id, marks) {
  const seen = new Set(marks.map((mark) => mark.kind));
  for (const item of document.getElementById(id).children) item.hidden = !seen.has(item.dataset.kind);
}

function notes(id, sentences) {
  document.getElementById(id).replaceChildren(...sentences.map((text) => element("li", text)));
}

function element(name, text, className = "") {
  return Object.assign(document.createElement(name), { textContent: text, className });
}

/** A table anew, all of it as text. */
function fill(id, header, rows, isHere = () => false) {
  const head = document.createElement("thead"), body = document.createElement("tbody");
  head.insertRow().append(...header.map((text) => Object.assign(element("th", text), { scope: "col" })));
  rows.forEach((row, i) => {
    const line = body.insertRow();
    line.className = isHere(i) ? "here" : "";
    line.append(...row.map((text) => element("td", text)));
  });
  document.getElementById(id).replaceChildren(head, body);
}

function fillTables(atScale, points, chosen) {
  const by = (point) => [data.cell[point.cell], data.recurrent_scale[point.recurrent_scale]];
  const rest = ({ text: t, networks: [ok, all], status }) =>
    [t.ratio, t.rate, t.horizon, t.verdict, t.plain].map((x) => x ?? "–").concat([`${ok} of ${all}`, status]);
  const columns = ["log₁₀ ratio [95 %]", "rate [95 %]", "horizon", "verdict", "plain floats", "ok", "status"];
  fill("scale-table", ["cell", "scale", ...columns], points.map((point) => [...by(point), ...rest(point)]),
    (i) => points[i].recurrent_scale === chosen.scale);
  const at = (point, i) => span(...["median", "low", "high"].map((part) => point.curve[part][i]));
  fill("lag-table", ["lag", ...atScale.map((point) => data.cell[point.cell])],
    data.lags[chosen.length].map((lag, i) => [lag, ...atScale.map((p) => (p.curve ? at(p, i) : p.status))]));
  const found = data.bands.filter((band) => isChosen(band, chosen));
  fill("bands-table", ["cell", ...data.limits.map((limit) => `within a factor ${10 ** limit}`)],
    found.map((band) => [data.cell[band.cell], ...band.texts]));
}

const isChosen = (each, { cells, length, dtype }) =>
  cells.includes(each.cell) && each.sequence_length === length && each.dtype === dtype;

function update(views) {
  const chosen = choice();
  const points = data.points.filter((point) => isChosen(point, chosen));
  const atScale = points.filter((point) => point.recurrent_scale === chosen.scale);
  const scale = data.recurrent_scale[chosen.scale], T = `T = ${data.sequence_length[chosen.length]}`;
  if (slider) {
    document.getElementById("scale-value").textContent = scale;
    slider.setAttribute("aria-valuetext", scale);
  }
  document.getElementById("lag-of").textContent = `recurrent scale ${scale}, ${T}`;
  for (const id of ["scale-of", "bands-of"]) document.getElementById(id).textContent = T;
  drawByLag(views.byLag, atScale, chosen);
  drawByScale(views.byScale, points, chosen);
  fillTables(atScale, points, chosen);
  const names = new Set(chosen.cells.map((cell) => data.cell[cell]));
  const known = new Set(data.cell);
  for (const row of document.querySelectorAll("#league tr[data-cell]")) {
    row.hidden = known.has(row.dataset.cell) && !names.has(row.dataset.cell);
  }
}

/** Rows by a column of the league: numbers by size, texts by alphabet, what is missing last. */
function sort(header) {
  const table = header.closest("table"), column = header.cellIndex;
  const sign = header.ariaSort === "ascending" ? -1 : 1;
  const value = (row) => Number(row.cells[column].dataset.number ?? NaN);
  const text = (row) => row.cells[column].textContent;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (isNaN(x) && isNaN(y)) return sign * text(a).localeCompare(text(b), "en");
    return isNaN(x) - isNaN(y) || sign * (x < y ? -1 : x > y ? 1 : 0);
  };
  for (const other of table.tHead.rows[0].cells) other.ariaSort = null;
  header.ariaSort = sign > 0 ? "ascending" : "descending";
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

async function start() {
  const charts = read("charts"), options = { actions: false, renderer: "svg", ast: true };
  options.tooltip = { disableDefaultStyle: true, formatTooltip: tooltip };
  const byLag = (await vegaEmbed("#by-lag", charts.byLag, options)).view;
  const byScale = (await vegaEmbed("#by-scale", charts.byScale, options)).view;
  const views = { byLag, byScale };
  form.addEventListener("input", () => update(views));
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const button of form.querySelectorAll(".all button")) {
    button.addEventListener("click", () => {
      for (const box of form.querySelectorAll("[name=cell]")) box.checked = Boolean(button.value);
      update(views);
    });
  }
  for (const header of document.querySelectorAll("#league th")) {
    header.firstElementChild.addEventListener("click", () => sort(header));
  }
  byScale.addEventListener("click", (event, item) => {
    const index = item?.datum?.datum?.index ?? item?.datum?.index;
    if (slider && index !== undefined) slider.value = index;
    update(views);
  });
  update(views);
  window.views = views;
}

start();
