// Requests of the last hour and how long they took. Nothing is drawn where nothing was sampled.
"use strict";
(() => {
  const place = document.querySelector("[data-charts]");
  if (!place || typeof uPlot === "undefined") return;
  const EVERY = 5000;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = () => ({ stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, size: 60 });
  const number = (value) => value.toLocaleString(undefined, { maximumSignificantDigits: 3 });
  const time = (seconds) => (seconds < 1 ? `${number(seconds * 1000)} ms` : `${number(seconds)} s`);
  const CHARTS = [
    { title: "Requests per second", lines: [["rate", "--accent"]], tell: number },
    { title: "Time to answer", lines: [["p50", "--accent"], ["p95", "--wait"]], tell: time },
  ];
  let points = [], drawn = null;

  function draw() {
    place.replaceChildren();
    drawn = CHARTS.map((chart) => {
      const box = document.createElement("div"), title = document.createElement("h3");
      const legend = { show: false }, cursor = { show: false };
      box.append(title); place.append(box);
      const values = (_, ticks) => ticks.map((value) => chart.tell(value));
      const plot = new uPlot({
        width: box.clientWidth || 320, height: 160, legend, cursor, axes: [axis(), { ...axis(), values }],
        series: [{}, ...chart.lines.map(([, tone]) => ({ stroke: colour(tone), width: 2 }))],
        scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      }, columns(chart), box);
      return { chart, box, title, plot };
    });
  }
  const columns = (chart) => [points.map((each) => each.at), ...chart.lines.map(([name]) => points.map((each) => each[name]))];
  // what the lines end at, for who sees no lines
  function say({ chart, title }) {
    const last = points[points.length - 1];
    const told = chart.lines.filter(([name]) => last[name] !== null)
      .map(([name]) => (chart.lines.length > 1 ? `${name} ${chart.tell(last[name])}` : chart.tell(last[name])));
    title.textContent = `${chart.title}: ${told.join(", ") || "no request"}`;
  }
  function show() {
    if (!points.length) return;
    if (drawn) for (const each of drawn) each.plot.setData(columns(each.chart));
    else draw();
    drawn.forEach(say);
  }

  let busy = false;
  async function renew() {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const after = points.length ? `?after=${points[points.length - 1].at}` : "";
      const answer = await fetch(place.dataset.charts + after, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
      if (answer.status === 401 || answer.status === 403) { clearInterval(timer); return; }
      if (!answer.ok) return; // it is asked again
      const found = await answer.json();
      if (!found.items.length) return;
      const begin = Date.now() / 1000 - found.span;
      points = [...points, ...found.items].filter((each) => each.at > begin);
      show();
    } catch { /* away: it is asked again */ } finally { busy = false; }
  }
  const timer = setInterval(renew, EVERY);
  document.addEventListener("visibilitychange", renew);
  addEventListener("resize", () => {
    for (const { plot, box } of drawn || []) plot.setSize({ width: box.clientWidth || 320, height: 160 });
  });
  renew();
})();
