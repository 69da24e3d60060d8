/** A chart of lines as SVG. Both axes are logarithmic, so that what grows in proportion is straight. */
const [WIDTH, HEIGHT] = [800, 480];
const AREA = { left: 88, right: WIDTH - 32, top: 48, bottom: HEIGHT - 64 };

/** Colours that the colour-blind too can tell apart (Okabe and Ito's). */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#6e6e6e"];

/**
 * @param {{ title: string, x: Axis, y: Axis, series: { name: string, points: [number, number][] }[] }} chart all numbers
 *   are positive, as only these have logarithms
 * @typedef {{ label: string, format: (number: number) => string }} Axis
 */
export function plot({ title, x, y, series }) {
  const points = series.flatMap((line) => line.points);
  const across = scale(points.map(([x]) => x), AREA.left, AREA.right);
  const up = scale(points.map(([, y]) => y), AREA.bottom, AREA.top);
  const parts = [
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(WIDTH / 2, 28, title, 'font-size="20" text-anchor="middle"'),
    text((AREA.left + AREA.right) / 2, HEIGHT - 16, x.label, 'text-anchor="middle"'),
    text(16, HEIGHT / 2, y.label, `text-anchor="middle" transform="rotate(-90 16 ${HEIGHT / 2})"`),
    ...across.decades.flatMap((value) => [
      line([[across.at(value), AREA.top], [across.at(value), AREA.bottom]], "#e8e8e8"),
      text(across.at(value), AREA.bottom + 20, x.format(value), 'text-anchor="middle"'),
    ]),
    ...up.decades.flatMap((value) => [
      line([[AREA.left, up.at(value)], [AREA.right, up.at(value)]], "#e8e8e8"),
      text(AREA.left - 8, up.at(value) + 5, y.format(value), 'text-anchor="end"'),
    ]),
    ...series.flatMap(({ name, points }, index) => {
      const colour = COLOURS[index % COLOURS.length];
      const places = points.map(([x, y]) => [across.at(x), up.at(y)]);
      const below = AREA.top + 20 * (index + 1);
      return [
        line(places, colour),
        ...places.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="4" fill="${colour}"/>`),
        line([[AREA.left + 12, below - 5], [AREA.left + 30, below - 5]], colour),
        text(AREA.left + 38, below, name),
      ];
    }),
  ];
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="14">`;
  return `${[head, ...parts].join("\n")}\n</svg>\n`;
}

/** Whole powers of ten around all numbers, and where a number is between two places. */
function scale(numbers, from, to) {
  if (!numbers.every((number) => number > 0)) throw new RangeError("only positive numbers have logarithms");
  const first = Math.floor(Math.log10(Math.min(...numbers)));
  const last = Math.max(Math.ceil(Math.log10(Math.max(...numbers))), first + 1);
  const decades = Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
  const at = (number) => Math.round(from + ((to - from) * (Math.log10(number) - first)) / (last - first));
  return { decades, at };
}

function line(points, colour) {
  return `<polyline points="${points.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`;
}

function text(x, y, content, attributes = "") {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="${y}" ${attributes}>${escaped}</text>`;
}
