// Draws the shown configuration and its baseline; `page`: arrays.py and words.py, other undeclared names: models.py.
const each = (object, f) => Object.fromEntries(Object.entries(object).map(([k, v]) => [k, f(v, k)]));
const plain = v => Array.isArray(v) ? v.map(plain) : v?.constructor === Object ? each(v, plain)
  : ArrayBuffer.isView(v) ? Object.getPrototypeOf(v.constructor).from(v) : v;  // a part of Bokeh's own has its shape
const p = plain(page), {axes, names, columns, evidence, networks, curves, dots, predictions} = p, n = p.rank.length;
const range = count => [...Array(count).keys()], pick = (values, places) => places.map(i => values[i]);
const total = values => values.reduce((a, b) => a + b, 0), byId = id => document.getElementById(id);
const half = bits => (bits >> 15 ? -1 : 1) * ((bits & 0x7c00) === 0x7c00 ? NaN  // of float16
  : (bits & 0x7c00 ? 1024 + (bits & 1023) : 2 * (bits & 1023)) * 2 ** ((bits >> 10 & 31) - 25));
const put = (s, more) => { s.data = {...s.data, ...more}; }, controls = {split, metric, across, down, along, filter, order};
const part = (array, place, count) => array.subarray(place * count, (place + 1) * count);
const halves = (a, place, count) => Float64Array.from(part(a, place, count), a.BYTES_PER_ELEMENT === 2 ? half : v => v);
const number = v => typeof v !== "number" ? String(v) : Number.isFinite(v) ? String(+v.toPrecision(4)) : "";
const tell = (id, name, values) => { byId(id).textContent = p.words[name].replace(/{(\w+)}/g, (_, key) => values[key]); };
const label = (i, texts = names) => (i === here ? "▸ " : "") + (i === p.chosen ? "★ " : "") + texts[i];
const [helps, hurts, neither] = Object.keys(p.verdicts), above = p.higher[p.metric] ? 1 : -1;
const shown = () => `${split.value}_${metric.value}`, kept = history.state ?? {};  // of before a reload
let here = Math.max(0, names.indexOf(kept.here ?? names[p.start])), baseline = names.indexOf(kept.baseline);
let paired = baseline < 0 ? p.first : differencesTo(baseline); each(controls, (s, k) => { s.value = kept[k] ?? s.value; });
const best = [...p.rank].indexOf(0), near = differencesTo(best).verdict;  // what the paired evidence cannot tell from the best
function slice(...free) {  // configurations that differ from the shown one on these axes alone, the best in each place
  const cells = new Map(), fixed = axes.filter((a, k) => !free.includes(k));
  for (const i of range(n).filter(i => fixed.every(a => a.level[i] === a.level[here]))) {
    const at = free.map(k => axes[k]?.level[i]).join(), there = cells.get(at) ?? i;
    cells.set(at, i === here || there !== here && p.rank[i] < p.rank[there] ? i : there);
  }
  return [...cells.values()];
}
const same = (axis, i) => axes.filter((a, k) => k !== axis && a.level[i] === a.level[here]).length;
const nearest = (axis, level) => range(n).filter(i => axes[axis].level[i] === level)  // least unlike the shown, best of these
  .sort((i, j) => same(axis, j) - same(axis, i) || p.rank[i] - p.rank[j])[0];
function differencesTo(b) {  // as comparison.py, since those of every pair would not fit: see evidence.py
  const {lost, count} = evidence, found = each(p.first, (v, k) => k === "verdict" ? [] : new Float64Array(n).fill(NaN));
  const terms = i => evidence.examples ? halves(evidence.examples, i, evidence.num_examples) : [NaN], ofBaseline = terms(b);
  const sampling = i => Math.hypot(...terms(i).map((v, k) => v - ofBaseline[k]));  // error of the held-out samples
  for (let i = 0; i < n; i++) {
    found.verdict[i] = i === b ? p.words.baseline : lost[i] || lost[b] && `${p.words.baseline} ${lost[b]}` || neither;
    if (found.verdict[i] !== neither) continue;
    const [scores, other] = [i, b].map(j => part(evidence.units, j, count)), d = scores.map((v, j) => v - other[j]);
    const mean = total(d) / count, noise = evidence.noise * Math.max(...[...scores, ...other].map(Math.abs));
    const same = Math.max(...d) - Math.min(...d) <= noise;
    found.difference[i] = same && Math.abs(mean) <= noise ? 0 : mean; if (same) continue;  // no spread, no interval
    const least = evidence.grain * total(d.map(v => Math.abs(v) * Math.max(0, 1 - Math.abs(v)))) / count, own = count - 1;
    const df = evidence.prior_df[b], sum = df * evidence.prior[b] + Math.max(own * least, total(d.map(v => (v - mean) ** 2)));
    const se = evidence.error * Math.sqrt(Math.max(least, sum / (df + own))), reach = evidence.t[b] * se;
    const whole = evidence.reach[b] * (evidence.one_split ? Math.hypot(se, sampling(i)) : se);
    [found.low[i], found.high[i], found.family_low[i], found.family_high[i]] = [-reach, reach, -whole, whole].map(v => mean + v);
    if (Math.abs(mean) > whole) found.verdict[i] = mean * above > 0 ? helps : hurts;
  }
  return found;
}
const sigmoid = z => 1 / (1 + Math.exp(-z)), silu = z => z * sigmoid(z), elu = z => z > 0 ? z : 1.67326324 * Math.expm1(z);
const FUNCTIONS = {relu: z => Math.max(z, 0), tanh: Math.tanh, sigmoid, silu, selu: z => 1.05070099 * elu(z), identity: z => z,
  gelu: z => z * sigmoid(1.5957691 * (z + 0.044715 * z ** 3))};  // in its tanh form, within 5e-4
function network(c) {  // returns the last layer as a function of x1 and x2; here, as pictures of all would not fit
  const {shapes, shape, inputs, targets, weights, place} = networks, {sizes, activation, count} = shapes[shape[c]];
  const [m1, m2, s1, s2] = part(inputs, c, 4), [m, s] = part(targets, c, 2), flat = halves(weights.subarray(place[c]), 0, count);
  return (x1, x2, a = [(x1 - m1) / s1, (x2 - m2) / s2], at = 0) => {
    for (let l = 1; l < sizes.length; l++) {
      const cols = sizes[l - 1], biases = at + sizes[l] * cols;
      const z = range(sizes[l]).map(r => a.reduce((s, v, k) => s + flat[at + r * cols + k] * v, flat[biases + r]));
      [a, at] = [l + 1 < sizes.length ? z.map(FUNCTIONS[activation]) : z, biases + sizes[l]];
    }
    return a.map(v => m + s * v);  // all outputs have one scale; only the first is shown of real targets
  };
}
function shade(z) {  // the colour of the likeliest class as RGBA, paler where it is less sure
  const odds = z.map(v => Math.exp(v - Math.max(...z))), [low, high] = p.real ?? [0, 1];
  const second = p.real ? Math.min(1, Math.max(0, (z[0] - low) / (high - low))) : FUNCTIONS.sigmoid(z[0]);
  const shares = z.length > 1 && !p.real ? odds.map(v => v / total(odds)) : [1 - second, second], top = Math.max(...shares);
  const paint = p.paint[0] + p.paint[1] * (top * shares.length - 1) / (shares.length - 1), c = p.colours[shares.indexOf(top)];
  return c.reduce((bits, v, k) => bits + Math.round(255 - (255 - v) * paint) * 256 ** k, 255 * 256 ** 3);
}
function categories(axis, span, {name, texts}) {
  axis.ticker.ticks = range(texts.length).filter(i => i % Math.ceil(texts.length / 24) === 0);
  axis.setv({axis_label: name, major_label_overrides: new Map(texts.entries())});
  span.setv({start: -0.6, end: texts.length - 0.4});
}
function drawMaps() {
  const [x, y, k] = [across, down, along].map(s => +s.value), of = k => axes[k] ?? {name: "", texts: [""]}, line = slice(k);
  const cells = slice(x, y), {values, low, high} = p.scores[shown()], many = cells.length > 60 || of(x).texts.length > innerWidth / 72;
  const at = (k, list) => list.map(i => axes[k]?.level[i] ?? 0), judged = p.judged && shown() === p.metric;
  colours.setv({low, high, palette: p.palettes[+p.higher[metric.value]]});
  cell_source.data = {x: at(x, cells), y: at(y, cells), value: pick(values, cells), c: cells, name: cells.map(i => label(i)),
                      here: cells.map(i => +(i === here)), star: cells.map(i => +(i === p.chosen)),
                      near: cells.map(i => !judged ? "" : near[i] === neither ? "≈" : i === best ? p.words.best : ""),
                      noise: cells.map(i => 0.7 * (judged && paired.verdict[i] === neither)), up: cells.map(() => many ? 0 : -16),
                      lost: pick(p.diverged, cells), text: cells.map(i => many ? "" : number(values[i]))};
  gap_source.data = {x: at(k, line), c: line, name: line.map(i => label(i)), ...each(p.gap, v => pick(v, line))};
  [[heat.below, heat.x_range, x], [heat.left, heat.y_range, y], [gap.below, gap.x_range, k]].forEach(
    ([side, span, axis]) => categories(side[0], span, of(axis)));
  byId("evident").hidden = !judged; tell("of_heat", split.value === "test" ? "heat_test" : "heat", {metric: p.units[shown()] ?? shown()});
}
function drawForest() {
  const all = range(n).filter(i => Number.isFinite(paired.difference[i])), ends = p.most_shown / 2;
  all.sort((i, j) => above * (paired.difference[i] - paired.difference[j]));
  const some = all.filter((i, k) => k < ends || k >= all.length - ends || i === here);
  const style = k => some.map(i => p.verdicts[paired.verdict[i]][k]), colour = style(0).map(role => theme()[role]);
  forest_source.data = {...each(paired, v => pick(v, some)), y: range(some.length), c: some, name: some.map(i => label(i)),
                        size: some.map(i => i === here ? 14 : 8), colour, marker: style(1)};
  categories(forest.left[0], forest.y_range, {name: "", texts: some.map(i => label(i, some.length > 12 ? names : p.folded))});
  tell("of_forest", "forest", {baseline: names[baseline] ?? p.baseline, some: some.length, all: all.length});
}
function draw() {
  drawMaps(); drawForest(); tell("shown", "shown", {name: label(here), verdict: paired.verdict[here]});
  dot_figure.left[0].axis_label = p.units[shown()];
  const c = here, k = curves, to = baseline < 0 ? p.counterpart[c] : baseline, of = dots.values[shown()];
  curve_source.data = {step: part(k.steps, k.kind[c], k.points), ...each(k.means, v => halves(v, c, k.points))};
  put(bar_source, {top: halves(p.bars.shares, c, bar_source.data.left.length)});
  put(dot_source, {value: [c, to].flatMap(i => [...halves(of, i, dots.count)])});
  numbers_source.data = {name: Object.keys(columns), value: Object.values(columns).map(v => number(v[c]))};
  if (networks && networks.place[c] >= 0) {
    const [x0, x1, y0, y1] = p.plane, f = network(c), side = range(80).map(k => (k + 0.5) / 80);
    const image = side.flatMap(v => side.map(u => shade(f(x0 + u * (x1 - x0), y0 + v * (y1 - y0)))));
    put(plane_source, {image: [new plane_source.data.image[0].constructor(image, [80, 80])]});
  } else if (predictions)
    put(prediction_source, each(predictions.columns, v => part(v, Math.max(0, predictions.place[c]), predictions.count)));
  byId("no_detail").hidden = detail.visible = (networks ?? predictions).place[c] >= 0;
}
function drawTable() {
  const data = {...columns, ...paired}, [, falls, column] = order.value.match(/^(-?)(.+)$/), by = data[column];
  const asked = filter.value.trim().toLowerCase().split(/[\s,]+/).map(v => v.match(/^(\w+)(<=?|>=?|=)(.+)$/) ?? [v]);
  const unknown = asked.map(v => v[1]).filter(name => name && !(name in data));
  const compare = (v, sign, x) => sign.includes("=") && v == x || sign[0] === "<" && v < x || sign[0] === ">" && v > x;
  const holds = (i, [word, column, sign, x]) =>
    column ? compare(data[column]?.[i], sign, x) : `${names[i]} ${paired.verdict[i]}`.includes(word);
  const some = range(n).filter(i => asked.every(word => holds(i, word))), worst = v => v !== v;
  some.sort((i, j) => worst(by[i]) - worst(by[j]) || (falls ? -1 : 1) * ((by[i] > by[j]) - (by[i] < by[j])) || i - j);
  table_source.data = {c: some, curve: pick(p.sparks, some), ...each(data, v => pick(v, some))};
  tell("found", unknown.length ? "found_not" : "found", {some: some.length, all: n, names: unknown.join(", ")});
}
function save() {
  const {c, curve, ...all} = table_source.data, quoted = v => typeof v === "string" ? `"${v}"` : v;
  const lines = [Object.keys(all), ...c.map((_, k) => Object.values(all).map(v => quoted(v[k])))].map(v => `${v.join()}\n`);
  Object.assign(document.createElement("a"), {href: URL.createObjectURL(new Blob(lines)), download: "regjax.csv"}).click();
}
const state = () => ({here: names[here], baseline: names[baseline], ...each(controls, s => s.value)});
const keep = f => { f(); history.replaceState({...history.state, ...state()}, ""); };
const theme = () => p.themes[document.documentElement.dataset.theme];
const paint = () => { for (const [m, roles] of painted) m.setv(each(roles, role => theme()[role])); drawForest(); };
const look = c => { here = c; pickers.forEach((s, k) => { s.value = String(axes[k].level[c]); }); draw(); };
const rebase = b => { [baseline, paired] = [b, b < 0 ? p.first : differencesTo(b)]; draw(); drawTable(); };
const on = (model, f) => (model.properties.value ?? model.selected.properties.indices).change.connect(() => keep(f));
addEventListener("theme", paint); paint(); look(here); drawTable(); if (p.every) setTimeout(() => location.reload(), 1000 * p.every);
pickers.forEach((s, k) => on(s, () => { if (+s.value !== axes[k].level[here]) look(nearest(k, +s.value)); }));
for (const s of [cell_source, gap_source, forest_source, table_source])
  on(s, () => s.selected.indices.slice(0, 1).forEach(i => { look(s.data.c[i]); s.selected.indices = []; }));
each(controls, (s, k) => on(s, ["filter", "order"].includes(k) ? drawTable : draw));
each({rebase: () => keep(() => rebase(here)), first: () => keep(() => rebase(-1)), csv: save,
      copy: () => navigator.clipboard.writeText(byId("asked").textContent)}, (f, id) => { byId(id).onclick = f; });
