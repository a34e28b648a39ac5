// The map as a surface that turns (drag, arrow keys) and whose level moves (slider). Without WebGL 2 the still stays.
"use strict";

const SHADERS = [
  `#version 300 es
  in vec3 position, normal; in float colour;
  uniform mat3 turn; uniform float reach, aspect;
  out vec3 slope; out float value, near;
  void main() {
    vec3 p = turn * position / reach;
    slope = turn * normal; value = colour; near = p.z;
    gl_Position = vec4(p.x / max(aspect, 1.0), p.y * min(aspect, 1.0), -p.z * 0.5, 1);
  }`,
  `#version 300 es
  precision mediump float;
  in vec3 slope; in float value, near;
  uniform vec3 plain, palette[5];
  out vec4 shown;
  void main() {
    vec3 n = normalize(slope);
    if (n.z < 0.0) n = -n; // the inside, seen through a hole
    float light = 0.3 + 0.7 * max(0.0, dot(n, normalize(vec3(-0.35, 0.5, 0.8))));
    vec3 colour = plain;
    if (value >= 0.5) {
      float at = (value - 1.0) / 254.0 * 4.0;
      int step = int(clamp(floor(at), 0.0, 3.0));
      colour = mix(palette[step], palette[step + 1], clamp(at - float(step), 0.0, 1.0));
    }
    float shine = 0.2 * pow(max(0.0, n.z), 24.0);
    shown = vec4((colour * light + shine) * (0.87 + 0.13 * clamp(near + 0.4, 0.0, 1.0)), 1);
  }`,
];
const PLAIN = [0.435, 0.659, 0.863]; // DENSITY of chimerax.py
const DEGREE = Math.PI / 180;

// Turns about the vertical axis, then about the horizontal one: 3 x 3, by columns.
function turnOf(yaw, pitch) {
  const [c, s, d, t] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return [c, t * s, -d * s, 0, d, t, s, -t * c, d * c];
}

class Surface {
  constructor(figure) {
    this.figure = figure;
    this.canvas = figure.querySelector("canvas");
    this.slider = figure.querySelector("input");
    this.choice = figure.querySelector("select");
    this.maps = page.data(figure);
    this.yaw = 35 * DEGREE;
    this.pitch = -20 * DEGREE;
    this.gl = this.canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!this.gl || !window.DecompressionStream) return;
    this.link();
    this.listen();
    this.show(0).then(() => figure.classList.add("live"));
  }

  link() {
    const gl = this.gl, program = gl.createProgram();
    [gl.VERTEX_SHADER, gl.FRAGMENT_SHADER].forEach((kind, i) => {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, SHADERS[i]);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    });
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.at = (name) => gl.getUniformLocation(program, name);
    gl.uniform3fv(this.at("plain"), PLAIN);
    this.buffers = ["position", "normal", "colour"].map((name) => [gl.createBuffer(), gl.getAttribLocation(program, name)]);
    this.indices = gl.createBuffer();
  }

  listen() {
    const canvas = this.canvas;
    canvas.onpointerdown = (event) => canvas.setPointerCapture(event.pointerId);
    canvas.onpointermove = (event) => {
      if (event.buttons) this.turn(event.movementX, event.movementY);
    };
    canvas.onkeydown = (event) => {
      const by = { ArrowLeft: [-20, 0], ArrowRight: [20, 0], ArrowUp: [0, -20], ArrowDown: [0, 20] }[event.key];
      if (!by) return;
      event.preventDefault();
      this.turn(...by);
    };
    this.slider.oninput = () => this.cut();
    if (this.choice) this.choice.onchange = () => this.show(this.choice.selectedIndex);
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  async show(number) {
    const map = (this.map = this.maps[number]);
    map.volume ??= await page.bytes(map.data);
    map.colours ??= map.local ? await page.bytes(map.local) : null;
    const colours = map.palette.flatMap((text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16) / 255));
    this.gl.uniform3fv(this.at("palette"), colours);
    this.gl.uniform1f(this.at("reach"), 0.37 * Math.hypot(...map.shape));
    this.figure.classList.toggle("coloured", !!map.local);
    this.figure.querySelector(".range").textContent = map.range.join(" to ");
    this.slider.value = 1000 * Math.sqrt((map.level - map.low) / (map.high - map.low));
    this.cut();
  }

  // Cut the map where the slider is: finer steps for low levels, where most of the map is.
  cut() {
    const map = this.map, share = (this.slider.value / 1000) ** 2, gl = this.gl;
    const byte = Math.min(254.5, Math.max(0.5, 255 * share)), level = map.low + share * (map.high - map.low);
    const mesh = surfaceNets(map.volume, map.shape, byte, map.colours);
    [mesh.positions, mesh.normals, mesh.colours].forEach((values, i) => {
      const [buffer, place] = this.buffers[i];
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, i < 2 ? 3 : 1, i < 2 ? gl.FLOAT : gl.UNSIGNED_BYTE, false, 0, 0);
    });
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.triangles, gl.DYNAMIC_DRAW);
    this.count = mesh.triangles.length;
    let above = 0;
    for (const value of map.volume) above += value > byte;
    const said = this.figure.querySelector("output");
    said.textContent = `level ${page.three(level)}, which encloses ${page.volume(above * map.voxel ** 3)}`;
    this.figure.querySelector(".in-chimerax").textContent = `open ${map.files[0]}; volume #1 level ${page.three(level)}`;
    this.draw();
  }

  turn(right, down) {
    this.yaw += right / 120;
    this.pitch = Math.min(Math.PI / 2, Math.max(-Math.PI / 2, this.pitch + down / 120));
    this.draw();
  }

  draw() {
    const gl = this.gl, canvas = this.canvas, scale = window.devicePixelRatio || 1;
    if (!this.count || !canvas.clientWidth) return;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix3fv(this.at("turn"), false, turnOf(this.yaw, this.pitch));
    gl.uniform1f(this.at("aspect"), canvas.width / canvas.height);
    gl.drawElements(gl.TRIANGLES, this.count, gl.UNSIGNED_INT, 0);
  }
}

for (const figure of document.querySelectorAll("figure.surface")) new Surface(figure);
