/** Numbers and tables as people read them. */

/** `12,345` */
export const count = (number) => Math.round(number).toLocaleString("en-US");

/** From nanoseconds: `10 µs`, `7.61 ms`. */
export function time(nanoseconds) {
  // A power of ten is not always met exactly.
  const isReached = ([unit]) => nanoseconds >= unit * 0.999;
  const [unit, name] = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]].find(isReached) ?? [1, "ns"];
  return `${Math.round((nanoseconds / unit) * 100) / 100} ${name}`;
}

export const milliseconds = (number) => time(number * 1e6);

/** How many times as fast as the other: `× 24`, `× 0.93`. */
export function timesAsFast(ours, other) {
  const ratio = other / ours;
  return `× ${ratio.toFixed(ratio < 10 ? 2 : 0)}`;
}

/** `1.4 MB`, rounded up. */
export const megabytes = (bytes) => `${(Math.ceil(bytes / 1e5) / 10).toFixed(1)} MB`;

/** The slope between the last two points, as logarithms: 1 is proportional to the size, 0 does not depend on it. */
export function exponent(points) {
  const [[n, before], [m, last]] = points.slice(-2);
  return Math.log(last / before) / Math.log(m / n);
}

/** A table in Markdown, whose first column is text, and the others numbers. */
export function table(head, rows) {
  const align = head.map((_, index) => (index === 0 ? "---" : "---:"));
  return [head, align, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
