// The threshold of a mask: a slider moves the contour over the slices, the volume above it and the line of the config.
"use strict";

class Tuner {
  constructor(figure) {
    this.figure = figure;
    this.data = page.data(figure);
    this.slider = figure.querySelector("input");
    this.line = figure.querySelector(".config-line");
    this.slider.oninput = () => this.draw();
    new ResizeObserver(() => this.draw()).observe(figure);
    page.bytes(this.data.slices, true).then((bytes) => {
      const n = this.data.size;
      this.slices = [0, 1, 2].map((i) => bytes.subarray(i * n * n, (i + 1) * n * n));
      this.draw();
    });
  }

  get threshold() {
    const { low, high } = this.data;
    return low + (this.slider.value / 1000) * (high - low);
  }

  draw() {
    if (!this.slices) return;
    const data = this.data, said = String(Number(this.threshold.toPrecision(4)));
    this.figure.querySelectorAll("canvas").forEach((canvas, i) => this.slice(canvas, this.slices[i]));
    const volume = this.volume();
    this.figure.querySelector("output").textContent =
      `threshold ${said}: ${page.volume(volume)} above it, ${Math.round((100 * volume) / data.sphere)} % of the sphere ` +
      `of ${data.diameter} Å (chosen: ${Number(data.chosen.toPrecision(4))})`;
    this.line.textContent = this.line.dataset.line.replace("@", said);
  }

  // The volume above the threshold, between those that are known.
  volume() {
    const { thresholds, volumes } = this.data;
    const next = thresholds.findIndex((value) => value >= this.threshold);
    if (next <= 0) return next ? 0 : volumes[0];
    const share = (this.threshold - thresholds[next - 1]) / (thresholds[next] - thresholds[next - 1]);
    return volumes[next - 1] + share * (volumes[next] - volumes[next - 1]);
  }

  slice(canvas, grey) {
    const n = this.data.size, scale = (canvas.clientWidth * (window.devicePixelRatio || 1)) / n;
    canvas.width = canvas.height = Math.round(n * scale);
    const small = new OffscreenCanvas(n, n), image = new ImageData(n, n);
    grey.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
    small.getContext("2d").putImageData(image, 0, 0);
    const pen = canvas.getContext("2d");
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    pen.setTransform(scale, 0, 0, scale, scale / 2, scale / 2);
    pen.strokeStyle = "#e69f00";
    pen.lineWidth = (2 * (window.devicePixelRatio || 1)) / scale;
    pen.beginPath();
    for (const [a, b] of this.contour(grey)) {
      pen.moveTo(...a);
      pen.lineTo(...b);
    }
    pen.stroke();
  }

  // Marching squares: the pieces of the line where the slice crosses the threshold.
  *contour(grey) {
    const { size: n, low, high } = this.data, level = (255 * (this.threshold - low)) / (high - low);
    for (let y = 0; y + 1 < n; y++)
      for (let x = 0; x + 1 < n; x++) {
        const corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
        const values = corners.map(([cx, cy]) => grey[cy * n + cx] - level);
        const crossed = [];
        for (let i = 0; i < 4; i++) {
          const j = (i + 1) % 4, [p, q] = [values[i], values[j]];
          if (p > 0 === q > 0) continue;
          const t = p / (p - q), [[ax, ay], [bx, by]] = [corners[i], corners[j]];
          crossed.push([ax + t * (bx - ax), ay + t * (by - ay)]);
        }
        for (let i = 0; i + 1 < crossed.length; i += 2) yield [crossed[i], crossed[i + 1]];
      }
  }
}

for (const figure of document.querySelectorAll("figure.tuner")) new Tuner(figure);
