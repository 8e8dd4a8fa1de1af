// The last hour in lines; nothing is drawn where nothing was sampled.
"use strict";
(async () => {
  const place = document.querySelector("[data-charts]");
  if (!place || typeof uPlot === "undefined") return;
  const answer = await fetch(place.dataset.charts, { credentials: "same-origin" });
  if (!answer.ok) return;
  const items = (await answer.json()).items;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const series = new Map();
  for (const item of items) {
    for (const [name, value] of Object.entries(item.numbers)) {
      if (!series.has(name)) series.set(name, new Map());
      const points = series.get(name), at = Date.parse(item.at) / 1000;
      points.set(at, (points.get(at) || 0) + value);
    }
  }
  if (series.size) place.replaceChildren();
  for (const [name, points] of [...series].slice(0, 6)) {
    const box = document.createElement("div"), title = document.createElement("h3");
    title.textContent = name.replaceAll("_", " ");
    box.append(title); place.append(box);
    const sorted = [...points].sort(([a], [b]) => a - b);
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 } };
    new uPlot({
      width: box.clientWidth || 320, height: 160, legend: { show: false }, cursor: { show: false },
      axes: [axis, axis], series: [{}, { stroke: colour("--accent"), width: 2 }],
    }, [sorted.map(([at]) => at), sorted.map(([, value]) => value)], box);
  }
})();
