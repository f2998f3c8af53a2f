// Draws the charts out of the JSON beside it, and again when the colour scheme changes.
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const charts = [];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue("--" + name).trim();
    return { ink: get("ink"), muted: get("muted"), line: get("line"), card: get("card"),
             series: [get("accent"), get("second"), get("third"), get("bad")] };
  };

  const options = (c, chart) => ({
    responsive: true, maintainAspectRatio: false, animation: false,
    interaction: { mode: "index", intersect: false },
    indexAxis: chart.horizontal ? "y" : "x",
    plugins: {
      legend: { display: chart.series.length > 1, position: "top", align: "start",
                labels: { color: c.ink, boxWidth: 7, boxHeight: 7, usePointStyle: true, padding: 14 } },
      title: { display: false },
      tooltip: { callbacks: { label: (item) => " " + item.dataset.label + "  " +
        (chart.percent ? (100 * item.raw).toFixed(1) + " %" : Number(item.raw).toLocaleString("en", { maximumFractionDigits: 4 })) } },
    },
    scales: {
      x: { title: { display: !!chart.xTitle, text: chart.xTitle, color: c.muted }, grid: { display: false },
           border: { color: c.line }, ticks: { color: c.muted, maxRotation: 60, autoSkip: chart.kind === "line" } },
      y: { beginAtZero: chart.kind === "bar", grid: { color: c.line, drawBorder: false },
           suggestedMax: chart.percent ? 1 : undefined,
           ticks: { color: c.muted, maxTicksLimit: 6, precision: chart.kind === "bar" ? 0 : undefined,
                    callback: (v) => chart.percent ? Math.round(100 * v) + " %" : Number(v.toPrecision(4)) } },
    },
  });

  const draw = () => {
    charts.splice(0).forEach((chart) => chart.destroy());
    const c = colours();
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    for (const chart of data) {
      const canvas = document.getElementById(chart.id);
      if (!canvas) continue;
      const datasets = chart.series.map((series, i) => ({
        label: series.name, data: series.values, borderColor: c.series[i % 4],
        backgroundColor: c.series[i % 4], borderWidth: chart.kind === "line" ? 2 : 0,
        pointRadius: chart.labels.length > 30 ? 0 : 2.5, tension: 0, spanGaps: true, borderRadius: 3,
        maxBarThickness: 34, borderDash: series.dashed ? [5, 4] : undefined,
      }));
      charts.push(new Chart(canvas, { type: chart.kind, data: { labels: chart.labels, datasets },
                                      options: options(c, chart) }));
    }
  };
  draw();
  dark.addEventListener("change", draw);
})();
