// Moves what the page shows as the temperature moves. Every number is computed from the similarities in the page, by the
// formulas of Wang & Liu 2021, eq. 1 to 5; what concerns the whole batch was computed before, for each stop of the slider.
// An anchor's negatives come in the order of their similarity, the hardest first.
(function (root) {
  "use strict";
  const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const find = (name) => root.querySelector("[data-part='" + name + "']");
  const all = (name) => Array.from(root.querySelectorAll("[data-part='" + name + "']"));
  const state = { stop: data.start, anchor: 0 };
  const percent = (x) => (100 * x).toFixed(x < 0.0995 ? 2 : 1) + " %";

  function anatomy(anchor, tau) {
    const kept = anchor.similarities.map((s) => s >= anchor.cut);
    const top = Math.max(...anchor.similarities);
    let sum = 0;
    const weights = anchor.similarities.map((s, i) => {
      const e = kept[i] ? (data.even ? 1 : Math.exp((s - top) / tau)) : 0;
      sum += e;
      return e;
    });
    let entropy = 0;
    let same = 0;
    weights.forEach((e, i) => {
      const r = (weights[i] = e / sum);
      if (r > 0) entropy -= r * Math.log(r);
      if (anchor.same && anchor.same[i]) same += r;
    });
    const lead = top / tau + Math.log(sum) - anchor.positive / tau;
    const softplus = Math.max(lead, 0) + Math.log1p(Math.exp(-Math.abs(lead)));
    const coupling = lead > 0 ? 1 / (1 + Math.exp(-lead)) : Math.exp(lead) / (1 + Math.exp(lead));
    let loss = softplus;
    if (data.kind === "dcl") loss = lead;
    if (data.even) loss = weights.reduce((found, r, i) => found + r * anchor.similarities[i], -anchor.positive);
    return { weights, entropy, same, loss, coupling: data.kind === "dcl" || data.even ? 1 : coupling };
  }

  function tell(i, found, anchor) {
    const s = anchor.similarities[i].toFixed(3);
    find("readout").textContent = anchor.names[i] + ": similarity " + s + ", receives " + percent(found.weights[i]) +
      " of the push" + (anchor.same ? (anchor.same[i] ? ", own class" : ", another class") : "");
  }

  function show() {
    const tau = data.taus[state.stop];
    const anchor = data.anchors[state.anchor];
    const found = anatomy(anchor, tau);
    root.dataset.found = JSON.stringify({ tau, loss: found.loss, entropy: found.entropy, same: found.same,
      coupling: found.coupling, weights: found.weights });
    find("tau").textContent = "temperature " + String(Number(tau.toPrecision(3)));
    const slider = find("slider");
    slider.value = state.stop;
    slider.setAttribute("aria-valuetext", "temperature " + Number(tau.toPrecision(3)));
    all("preset").forEach((b) => b.setAttribute("aria-pressed", String(Number(b.dataset.stop) === state.stop)));
    all("dot").forEach((dot, i) => {
      dot.setAttribute("cx", data.x(anchor.similarities[i]));
      dot.setAttribute("r", 2 + 26 * Math.sqrt(found.weights[i]));
      dot.setAttribute("class", "dot " + (anchor.same && anchor.same[i] ? "same" : "other"));
      dot.firstChild.textContent = anchor.names[i] + ": " + percent(found.weights[i]);
    });
    find("positive").setAttribute("transform", "translate(" + data.x(anchor.positive) + " 84)");
    all("bar").forEach((bar, i) => {
      const [fill, name, value] = bar.querySelectorAll(".fill, .name, .value");
      const length = (256 * found.weights[i]) / found.weights[0]; // the hardest has the largest
      fill.setAttribute("width", length);
      fill.setAttribute("class", "fill " + (anchor.same && anchor.same[i] ? "same" : "other"));
      name.textContent = anchor.names[i];
      value.textContent = percent(found.weights[i]);
      value.setAttribute("x", 126 + length);
      bar.setAttribute("aria-label", anchor.names[i] + " receives " + percent(found.weights[i]) + " of the push");
      bar.onfocus = bar.onmouseenter = () => tell(i, found, anchor);
    });
    all("dot").forEach((dot, i) => (dot.onmouseenter = () => tell(i, found, anchor)));
    all("hard").forEach((figure, i) => {
      figure.className = anchor.same && anchor.same[i] ? "same" : "other";
      figure.querySelector("img").src = data.pictures[anchor.candidates[i]];
      figure.querySelector("img").alt = anchor.names[i];
      figure.querySelector("figcaption").textContent = percent(found.weights[i]);
    });
    if (find("anchor-picture")) {
      find("anchor-picture").src = data.pictures[anchor.row];
      find("positive-picture").src = data.pictures[anchor.partner];
    }
    const k = anchor.similarities.length;
    const words = {
      "longest-bar": percent(found.weights[0]),
      "own-loss": found.loss.toFixed(4),
      "own-effective": Math.exp(found.entropy).toFixed(1) + " of " + k,
      "own-entropy": found.entropy.toFixed(4) + " nats, at most " + Math.log(k).toFixed(4),
      "own-coupling": found.coupling.toFixed(4),
      "own-same": anchor.same ? percent(found.same) : "",
      "batch-loss": data.batch.loss[state.stop].toFixed(4),
      "batch-floor": data.batch.floor[state.stop].toFixed(4),
      "batch-chance": data.batch.chance.toFixed(4),
      "batch-effective": data.batch.effective[state.stop].toFixed(1) + " of " + k,
      "batch-entropy": data.batch.entropy[state.stop].toFixed(4) + " nats",
      "batch-coupling": data.batch.coupling[state.stop].toFixed(4),
      "batch-same": data.batch.same ? percent(data.batch.same[state.stop]) : "",
    };
    Object.keys(words).forEach((name) => { if (find(name)) find(name).textContent = words[name]; });
    const width = data.batch.chance - data.batch.floor[state.stop];
    const share = (data.batch.loss[state.stop] - data.batch.floor[state.stop]) / width;
    find("loss-mark").setAttribute("transform", "translate(" + 400 * Math.max(0, Math.min(1, share)) + " 0)");
    find("effective-fill").setAttribute("width", (400 * data.batch.effective[state.stop]) / k);
    if (data.batch.same) find("same-fill").setAttribute("width", 400 * data.batch.same[state.stop]);
    find("readout").textContent = "";
  }

  data.x = (s) => 20 + 280 * (1 + Math.max(-1, Math.min(1, s / data.reach)));
  find("slider").addEventListener("input", (event) => { state.stop = Number(event.target.value); show(); });
  all("preset").forEach((b) => b.addEventListener("click", () => { state.stop = Number(b.dataset.stop); show(); }));
  if (find("anchors")) {
    find("anchors").addEventListener("change", (event) => { state.anchor = Number(event.target.value); show(); });
  }
  root.hypercon = { show: (stop, anchor) => { state.stop = stop; state.anchor = anchor; show(); } };
  root.querySelectorAll("[hidden]").forEach((element) => element.removeAttribute("hidden"));
  show();
})(document.getElementById("$id"));
