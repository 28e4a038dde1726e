// Draws the charts of a page with uPlot: each `.plot` has the id of its figures in `data-chart` (monitoring/pages/charts.py).
// Charts of a page share one cursor, follow the theme and the width, and take new figures when live.js has refreshed them.
"use strict";

(() => {
  const HEIGHT = 190;
  // Told apart by people who see colours differently (Okabe and Ito); the second of each pair is for the dark theme.
  const COLOURS = [
    ["#0072b2", "#56b4e9"],
    ["#b35900", "#e69f00"],
    ["#007a5a", "#2fc79b"],
    ["#a3457f", "#d98cb9"],
    ["#5b5b5b", "#b8b8b8"],
    ["#6a51a3", "#b3a2e0"],
    ["#8c6d1f", "#f0e442"],
    ["#c2410c", "#fb923c"],
  ];
  const SPAN_COLOUR = ["rgba(194, 65, 12, .13)", "rgba(251, 146, 60, .2)"];
  const charts = new Map(); // by the id of the plot

  const isDark = () => document.documentElement.classList.contains("dark");
  const themed = ([light, dark]) => (isDark() ? dark : light);
  const shown = (name) => getComputedStyle(document.querySelector(".figures")).getPropertyValue(name).trim();

  const digits = (value, count) => Number(value.toPrecision(count)).toLocaleString("en-US", { maximumSignificantDigits: count });
  const WRITERS = {
    seconds: (value) =>
      value >= 1 ? `${digits(value, 3)} s` : value >= 0.001 ? `${digits(value * 1000, 3)} ms` : `${digits(value * 1e6, 3)} µs`,
    ratio: (value) => `${digits(value * 100, 3)} %`,
    count: (value) => digits(value, 6),
    rate: (value) => digits(value, 3),
    number: (value) => digits(value, 3),
  };
  const written = (unit, value) => (value === null || value === undefined ? "-" : value === 0 ? "0" : WRITERS[unit](value));
  const moment = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");

  const payloadOf = (plot) => JSON.parse(document.getElementById(plot.dataset.chart).textContent);
  const dataOf = ({ steps, lines }) => [steps, ...lines.map((line) => line.values)];

  const dashOf = { dashed: [6, 4], limit: [2, 3] };
  const series = ({ unit, lines }) => {
    let place = 0;
    return lines.map((line) => {
      const stroke = line.stroke === "limit" ? shown("--faint") : themed(COLOURS[place++ % COLOURS.length]);
      return {
        label: line.label,
        stroke,
        width: line.stroke === "limit" ? 1 : 2,
        dash: dashOf[line.stroke],
        points: { show: line.stroke !== "limit" && line.values.filter((value) => value !== null).length < 30, size: 5 },
        value: (_, value, __, place) => (place === null ? "" : written(unit, value)),
      };
    });
  };

  // An estimate has the colour of what it estimates: the line before it.
  const paired = (all, { lines }) =>
    all.map((one, place) => (lines[place].stroke === "dashed" && place ? { ...one, stroke: all[place - 1].stroke } : one));

  const shading = (spansOf) => (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = themed(SPAN_COLOUR);
    for (const span of spansOf()) {
      const left = Math.max(bbox.left, plot.valToPos(span.begin, "x", true));
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(span.end, "x", true));
      if (right > left) {
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
      }
    }
    ctx.restore();
  };

  const axis = (extra) => ({
    stroke: shown("--faint"),
    grid: { stroke: shown("--line"), width: 1 },
    ticks: { stroke: shown("--line"), width: 1 },
    font: "12px Inter, sans-serif",
    ...extra,
  });

  // The highest figure where all are 0: 1 %, one feature, a request.
  const SMALLEST = { ratio: 0.01, seconds: 0.001 };
  const FAR_LIMIT = 4; // a limit so many times as high as all figures would press them flat: it is left out

  const scaleOf = ({ unit, lines, fromZero }) => {
    const known = (wanted) => lines.filter(wanted).flatMap((line) => line.values.filter((value) => value !== null));
    const figures = known((line) => line.stroke !== "limit");
    const limits = known((line) => line.stroke === "limit").filter((value) => value <= FAR_LIMIT * Math.max(...figures));
    const [low, high] = [Math.min(...figures, ...limits), Math.max(...figures, ...limits)];
    // From zero, but where that would hide how figures move.
    const zero = fromZero || (low >= 0 && unit !== "number" && !(unit === "ratio" && low > 0.3)) || low === high;
    const margin = (high - low || Math.abs(high)) * 0.1;
    return [zero ? Math.min(0, low) : low - margin, high <= 0 && zero ? SMALLEST[unit] ?? 1 : high + margin];
  };

  const pad = (number) => String(number).padStart(2, "0");
  // Days where the ticks are days apart or more, else the time of day.
  const times = (_, ticks, __, ___, increment) =>
    ticks.map((tick) => {
      const at = new Date(tick * 1000);
      return increment >= 86400 || (at.getUTCHours() === 0 && at.getUTCMinutes() === 0)
        ? `${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`
        : `${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}`;
    });

  const draw = (plot) => {
    let payload = payloadOf(plot);
    const data = dataOf(payload);
    const unit = payload.unit;
    const chart = new uPlot(
      {
        width: plot.clientWidth,
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        cursor: { sync: { key: "page" }, drag: { x: true, y: false } },
        legend: { live: true, markers: { dash: (self, place) => (self.series[place].dash ? "dashed" : "solid") } },
        scales: { y: { range: () => scaleOf(payload) } },
        axes: [axis({ values: times }), axis({ size: 64, values: (_, ticks) => ticks.map((tick) => written(unit, tick)) })],
        series: [{ label: "UTC", value: (_, value) => (value === null ? "" : moment(value)) }, ...paired(series(payload), payload)],
        hooks: {
          drawClear: [shading(() => payload.spans)],
          setCursor: [({ root, cursor }) => root.classList.toggle("at-cursor", typeof cursor.idx === "number")],
        },
      },
      data,
      plot,
    );
    chart.root.setAttribute("data-drawn", "");
    chart.root.querySelector("canvas").setAttribute("aria-hidden", "true"); // the caption says it in words
    const shape = JSON.stringify(payload.lines.map((line) => [line.label, line.stroke]));
    return {
      chart,
      shape,
      update: (fresh) => {
        payload = fresh;
        chart.setData(dataOf(fresh));
      },
    };
  };

  const redraw = (plot) => {
    charts.get(plot.id)?.chart.destroy();
    charts.delete(plot.id);
    charts.set(plot.id, draw(plot));
  };

  const refresh = () => {
    for (const plot of document.querySelectorAll(".plot")) {
      const old = charts.get(plot.id);
      const fresh = payloadOf(plot);
      const shape = JSON.stringify(fresh.lines.map((line) => [line.label, line.stroke]));
      if (old && old.shape === shape && plot.contains(old.chart.root)) {
        old.update(fresh);
      } else {
        redraw(plot);
      }
    }
    document.querySelectorAll(".as-table[open]").forEach(fillTable);
  };

  const cell = (kind, text, scope) => {
    const made = document.createElement(kind);
    made.textContent = text;
    if (scope) {
      made.scope = scope;
    }
    return made;
  };

  const row = (cells) => {
    const made = document.createElement("tr");
    made.append(...cells);
    return made;
  };

  const fillTable = (details) => {
    const { unit, steps, lines } = payloadOf(details.closest("figure").querySelector(".plot"));
    const table = document.createElement("table");
    const head = table.createTHead();
    head.append(row([cell("th", "Time (UTC)", "col"), ...lines.map((line) => cell("th", line.label, "col"))]));
    const body = table.createTBody();
    for (let place = steps.length - 1; place >= 0; place -= 1) {
      body.append(row([cell("th", moment(steps[place]), "row"), ...lines.map((line) => cell("td", written(unit, line.values[place])))]));
    }
    const box = document.createElement("div");
    box.className = "table-box";
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `${details.closest("figure").getAttribute("aria-label")}, table`);
    box.setAttribute("data-drawn", "");
    box.append(table);
    const old = details.querySelector(".table-box");
    const scrolled = old?.scrollTop ?? 0;
    old?.remove();
    details.append(box);
    box.scrollTop = scrolled;
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".plot").forEach(redraw);
    document.addEventListener("mlmon:refreshed", refresh);
    document.addEventListener("toggle", ({ target }) => target.matches(".as-table[open]") && fillTable(target), true);
    new MutationObserver(() => document.querySelectorAll(".plot").forEach(redraw)).observe(document.documentElement, {
      attributeFilter: ["class"],
    });
    new ResizeObserver(() =>
      charts.forEach(({ chart }, id) => {
        const plot = document.getElementById(id);
        if (plot && plot.clientWidth && plot.clientWidth !== chart.width) {
          chart.setSize({ width: plot.clientWidth, height: HEIGHT });
        }
      }),
    ).observe(document.getElementById("content") ?? document.body);
  });
})();
