// Draws a forecast into a chart: the limit, the trend as foretold, and when it is expected to reach the limit.

import type uPlot from "uplot";

/** A trend that is expected to reach a limit. */
export interface Trend {
  limit: number;
  made_at: string;
  level: number;
  expected_at: string;
  earliest_at: string;
  latest_at: string | null;
}

/** How it looks. */
export interface Look {
  limit: string;
  trend: string;
  font: string;
  label: string;
}

export function drawTrend(plot: uPlot, trend: Trend, look: Look): void {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  const x = (at: string) => plot.valToPos(Date.parse(at) / 1000, "x", true);
  const y = (value: number) => plot.valToPos(value, "y", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();

  // When: the interval as a shade.
  const [early, late] = [x(trend.earliest_at), trend.latest_at ? x(trend.latest_at) : bbox.left + bbox.width];
  ctx.fillStyle = look.trend;
  ctx.globalAlpha = 0.14;
  ctx.fillRect(early, bbox.top, late - early, bbox.height);
  ctx.globalAlpha = 1;

  ctx.lineWidth = 2 * ratio;
  const line = (color: string, dash: number[], from: [number, number], to: [number, number]) => {
    ctx.strokeStyle = color;
    ctx.setLineDash(dash.map((length) => length * ratio));
    ctx.beginPath();
    ctx.moveTo(...from);
    ctx.lineTo(...to);
    ctx.stroke();
  };
  const limit = y(trend.limit);
  line(look.limit, [8, 5], [bbox.left, limit], [bbox.left + bbox.width, limit]);
  line(look.trend, [2, 4], [x(trend.made_at), y(trend.level)], [x(trend.expected_at), limit]);

  ctx.setLineDash([]);
  ctx.fillStyle = look.limit;
  ctx.font = look.font.replace(/^(\d+)px/, (_, size: string) => `${Number(size) * ratio}px`);
  ctx.textAlign = "left";
  ctx.textBaseline = "bottom";
  ctx.fillText(look.label, bbox.left + 6 * ratio, limit - 4 * ratio);
  ctx.restore();
}
