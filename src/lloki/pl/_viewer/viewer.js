"use strict";
// The viewer of cells: an embedding and the tissue, linked. It reads the page's own elements and nothing else.
// Names from the data only ever become text (textContent), never markup.
(async () => {
  if (document.readyState === "loading") await new Promise((go) => addEventListener("DOMContentLoaded", go));
  const root = document.querySelector(".viewer");
  const find = (selector, inside = root) => inside.querySelector(selector);
  const make = (tag, text = "", name = "") => {
    const element = document.createElement(tag);
    if (text !== "") element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const plain = document.querySelectorAll(".static"); // pictures, for browsers that cannot do better
  const giveUp = (why) => {
    root.hidden = true;
    for (const part of plain) part.hidden = false;
    const note = document.querySelector(".no-viewer");
    if (note) [note.textContent, note.hidden] = [why, false];
  };
  const canDraw = () => typeof DecompressionStream === "function" && document.createElement("canvas").getContext("webgl2");
  if (!canDraw()) return giveUp("This browser has no WebGL 2: pictures take the place of the viewer.");

  // ---- data: blocks of base64, each decoded when it is first needed -------------------------------------
  const bytesOf = async (id) => {
    const element = document.getElementById(`cells-${id}`), binary = atob(element.textContent.trim());
    element.textContent = "";
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const once = new Map();
  const block = (id, turn) => {
    if (!once.has(id)) once.set(id, bytesOf(id).then(turn));
    return once.get(id);
  };
  const wide = (bytes) => {
    const n = bytes.length / 2, out = new Uint16Array(n);
    for (let i = 0; i < n; i++) out[i] = bytes[i] | (bytes[n + i] << 8);
    return out;
  };
  const lines = (bytes) => new TextDecoder().decode(bytes).split("\n");

  const about = JSON.parse(new TextDecoder().decode(await block("about", (b) => b)));
  const { n, slices, columns, other } = about, NOWHERE = 65535, ABSENT = 255;
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const gray = rgb(other), ramp = about.ramp.match(/.{6}/g).map((hex) => rgb(`#${hex}`));
  const count = (value) => value.toLocaleString("en-US");
  const number = (value) => String(+value.toPrecision(3));
  const valuesOf = (column) => block(column.block, column.wide ? wide : (b) => b);
  const missing = (column) => (column.wide ? NOWHERE : ABSENT);
  const sliceOf = new Uint16Array(n);
  slices.forEach((slice, k) => sliceOf.fill(k, slice.start, slice.start + slice.count));

  // ---- state --------------------------------------------------------------------------------------------
  const on = slices.map(() => true);
  const state = { column: null, values: null, hidden: new Set(), selected: null, hover: -1, order: new Uint32Array(0) };
  const colors = new Uint8Array(4 * n);
  const shuffled = new Uint32Array(n); // order of drawing: no category covers the others
  for (let i = 0; i < n; i++) shuffled[i] = i;
  for (let i = n - 1, seed = 1; i > 0; i--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = seed % (i + 1), kept = shuffled[i];
    shuffled[i] = shuffled[j];
    shuffled[j] = kept;
  }

  // Colors of all cells, and the order in which those shown are drawn: gray ones beneath, high values on top.
  const paint = () => {
    const { column, values, hidden, selected } = state;
    const none = missing(column), category = column.kind === "category";
    const lut = category ? column.colors.map(rgb) : ramp, last = lut.length - 1;
    const rank = new Uint8Array(n), sizes = new Uint32Array(257);
    state.translucent = selected !== null;
    for (let i = 0; i < n; i++) {
      const value = values[i], absent = value === none;
      if (!on[sliceOf[i]] || hidden.has(absent ? -1 : category ? value : -2)) {
        rank[i] = 255;
        continue;
      }
      const dim = selected !== null && !selected[i];
      const color = absent || dim ? gray : category ? lut[value] : lut[Math.round((value / 254) * last)];
      const at = 4 * i;
      colors[at] = color[0];
      colors[at + 1] = color[1];
      colors[at + 2] = color[2];
      colors[at + 3] = dim ? 70 : absent ? 150 : 255;
      if (absent) state.translucent = true;
      rank[i] = absent || dim ? 0 : category ? 1 : 1 + Math.min(value, 253);
      sizes[rank[i] + 1]++;
    }
    for (let k = 1; k < 257; k++) sizes[k] += sizes[k - 1];
    const order = new Uint32Array(sizes[256]);
    for (let k = 0; k < n; k++) {
      const i = shuffled[k];
      if (rank[i] !== 255) order[sizes[rank[i]]++] = i;
    }
    state.order = order;
    for (const panel of panels) panel.upload();
  };

  // ---- a panel: one WebGL canvas, and one above it for what is not a cell ---------------------------------
  const VERTEX = `#version 300 es
    in vec2 at; in vec4 color; uniform vec4 view; uniform float size; out vec4 tint;
    void main() {
      gl_Position = vec4(at * view.xy + view.zw, 0.0, 1.0);
      gl_PointSize = size; tint = color;
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float; in vec4 tint; uniform float size; out vec4 pixel;
    void main() {
      if (size < 2.5) { // a square of so few pixels looks the same, and costs less
        pixel = vec4(tint.rgb * tint.a, tint.a);
        return;
      }
      float edge = (1.0 - length(gl_PointCoord * 2.0 - 1.0)) * size * 0.5 + 0.3;
      if (edge <= 0.0) discard;
      float alpha = tint.a * min(edge, 1.0);
      pixel = vec4(tint.rgb * alpha, alpha);
    }`;
  const MANY = 60000; // cells from which the time of a frame is watched
  const FRAME = 10; // milliseconds: what a frame may take while the view moves
  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim() || "#888";

  class Panel {
    constructor(given, steps) {
      Object.assign(this, given);
      this.steps = steps; // Uint16Array: each cell in the box of its slice, or of all
      this.xy = new Float32Array(2 * n);
      const box = make("div", "", "panel"), view = make("div", "", "view");
      box.append(make("h3", this.title), view);
      this.canvas = make("canvas");
      this.over = make("canvas", "", "over");
      this.over.tabIndex = 0;
      this.over.setAttribute("role", "img");
      this.over.setAttribute("aria-label", `${this.title}: ${count(n)} cells. Arrow keys move, + and - zoom, 0 resets.`);
      view.append(this.canvas, this.over);
      find(".panels").append(box);
      this.pen = this.over.getContext("2d", { willReadFrequently: true });
      this.setUp();
      this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
      this.canvas.addEventListener("webglcontextrestored", () => {
        this.setUp();
        this.upload();
      });
      listen(this);
    }

    setUp() {
      const gl = (this.gl = this.canvas.getContext("webgl2", { antialias: false, powerPreference: "high-performance" }));
      const program = gl.createProgram();
      for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
      gl.useProgram(program);
      this.uniform = Object.fromEntries(["view", "size"].map((u) => [u, gl.getUniformLocation(program, u)]));
      this.slots = ["at", "color"].map((name) => gl.getAttribLocation(program, name));
      this.buffers = this.slots.map(() => gl.createBuffer());
      for (const slot of this.slots) gl.enableVertexAttribArray(slot);
      gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      this.fresh = true;
    }

    // Where every cell is drawn: one frame for all slices, or a grid of those that are switched on.
    place() {
      const { width, height } = this.measure();
      const shown = slices.map((_, k) => k).filter((k) => on[k] && this.boxes[k]);
      this.tiles = [];
      if (!this.grid) {
        const [, , w, h] = this.boxes[0], f = 1 / Math.max(w, h);
        this.tiles.push({ x: 0, y: 0, w: w * f, h: h * f, unit: f, from: 0, to: n });
      } else {
        // as many columns as make the slices largest
        const ratios = shown.map((k) => this.boxes[k][3] / this.boxes[k][2]);
        const room = (across) => {
          const cw = width / across, ch = height / Math.ceil(shown.length / across) - 22;
          return Math.min(...ratios.map((r) => Math.min(cw, ch / r) * Math.min(cw * r, ch)));
        };
        let across = 1;
        for (let c = 2; c <= shown.length; c++) if (room(c) > room(across)) across = c;
        const down = Math.max(1, Math.ceil(shown.length / across)), gap = 0.06;
        const cw = 1, ch = (height / down / (width / across)) || 1, margin = Math.min((44 * across) / width, ch / 2);
        shown.forEach((k, i) => {
          const [, , w, h] = this.boxes[k], f = (1 - gap) * Math.min(cw / w, (ch - margin) / h);
          const left = (i % across) * cw + (cw - w * f) / 2, top = Math.floor(i / across) * ch + (ch - h * f) / 2;
          const { start, count: many } = slices[k];
          this.tiles.push({ x: left, y: top, w: w * f, h: h * f, unit: f, from: start, to: start + many, slice: k, room: cw * (1 - gap) });
        });
      }
      for (const { x, y, w, h, from, to } of this.tiles) {
        for (let i = from; i < to; i++) {
          const a = this.steps[2 * i], b = this.steps[2 * i + 1], lost = a === NOWHERE;
          this.xy[2 * i] = lost ? 1e9 : x + (a / 65534) * w;
          this.xy[2 * i + 1] = lost ? 1e9 : y + (b / 65534) * h;
        }
      }
      this.fresh = true;
      this.fit();
    }

    measure() {
      const { clientWidth: width, clientHeight: height } = this.over;
      return { width, height };
    }

    fit() {
      const { width, height } = this.measure(), t = this.tiles;
      const left = Math.min(...t.map((o) => o.x)), right = Math.max(...t.map((o) => o.x + o.w));
      const top = Math.min(...t.map((o) => o.y)) - (this.grid ? 0.05 : 0);
      const bottom = Math.max(...t.map((o) => o.y + o.h)) + (this.grid || this.bar ? 0.05 : 0);
      if (!t.length) return this.redraw();
      this.scale = this.whole = 0.96 * Math.min(width / (right - left), height / (bottom - top));
      this.x = (left + right) / 2;
      this.y = (top + bottom) / 2;
      this.redraw();
    }

    toScreen(x, y) {
      const { width, height } = this.measure();
      return [(x - this.x) * this.scale + width / 2, (y - this.y) * this.scale + height / 2];
    }

    toWorld(sx, sy) {
      const { width, height } = this.measure();
      return [(sx - width / 2) / this.scale + this.x, (sy - height / 2) / this.scale + this.y];
    }

    zoom(factor, sx, sy) {
      const [x, y] = this.toWorld(sx, sy);
      this.scale = Math.min(Math.max(this.scale * factor, this.whole * 0.5), this.whole * 400);
      const [nx, ny] = this.toWorld(sx, sy);
      this.x += x - nx;
      this.y += y - ny;
      this.moving();
    }

    pan(dx, dy) {
      this.x -= dx / this.scale;
      this.y -= dy / this.scale;
      this.moving();
    }

    // While the view moves, a machine that draws all cells too slowly draws every so many; all when it rests.
    moving() {
      clearTimeout(this.rest);
      this.rest = setTimeout(() => this.redraw(), 180);
      this.redraw(this.step);
    }

    // Every which cell keeps a frame short; 31 is as far as a stride goes, of 8 bytes a position.
    get step() {
      return Math.min(Math.max(Math.ceil((this.cost || 0) / FRAME), 1), 31);
    }

    upload() {
      this.fresh = true;
      this.redraw();
    }

    redraw(every = 1) {
      [this.every, this.dirty] = [every, true];
      this.mark();
    }

    // Draw again what lies above the cells, which stay.
    mark() {
      if (!this.asked) this.asked = requestAnimationFrame(() => ((this.asked = 0), this.draw()));
    }

    get pointSize() {
      const { width, height } = this.measure();
      const base = Math.sqrt((0.42 * width * height) / Math.max(state.order.length, 1));
      return Math.min(Math.max(base, 1.1), 6) * Math.min((this.scale / this.whole) ** 0.55, 5) * 2 ** +find(".size").value;
    }

    draw() {
      const { width, height } = this.measure(), ratio = Math.min(window.devicePixelRatio || 1, 2);
      for (const canvas of [this.canvas, this.over]) {
        const w = Math.round(width * ratio), h = Math.round(height * ratio);
        if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height, this.dirty] = [w, h, true];
      }
      if (this.dirty) this.drawCells(ratio, width, height);
      this.dirty = false;
      this.annotate(ratio, width, height);
    }

    drawCells(ratio, width, height) {
      const { gl, every } = this, { order } = state, shown = Math.ceil(order.length / every);
      if (this.fresh) this.fill();
      const watched = every === 1 && order.length > MANY;
      const start = watched ? this.finish() : 0;
      gl.viewport(0, 0, this.canvas.width, this.canvas.height);
      gl.clear(gl.COLOR_BUFFER_BIT);
      const a = (2 * this.scale) / width, b = (-2 * this.scale) / height;
      gl.uniform4f(this.uniform.view, a, b, -this.x * a, -this.y * b);
      const size = Math.max(this.pointSize * ratio, 1.5) * Math.min(Math.sqrt(every), 2);
      gl.uniform1f(this.uniform.size, size);
      if (size < 2.5 && !state.translucent) gl.disable(gl.BLEND);
      else gl.enable(gl.BLEND);
      for (const [k, parts, type, bytes] of [[0, 2, gl.FLOAT, 8], [1, 4, gl.UNSIGNED_BYTE, 4]]) {
        gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[k]);
        gl.vertexAttribPointer(this.slots[k], parts, type, k === 1, every * bytes, 0);
      }
      gl.drawArrays(gl.POINTS, 0, shown);
      if (!watched) return;
      const before = this.step;
      this.cost = this.finish() - start;
      if (this.step !== before) tellState();
    }

    // Positions and colors of the cells that are shown, in the order of drawing: gray ones beneath.
    fill() {
      const { gl } = this, { order } = state, xy = new Float32Array(2 * order.length);
      const tints = new Uint32Array(order.length), packed = new Uint32Array(colors.buffer);
      for (let k = 0; k < order.length; k++) {
        const i = order[k];
        xy[2 * k] = this.xy[2 * i];
        xy[2 * k + 1] = this.xy[2 * i + 1];
        tints[k] = packed[i];
      }
      [xy, tints].forEach((values, k) => {
        gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[k]);
        gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
      });
      this.fresh = false;
    }

    // Wait until all is drawn; the time in milliseconds.
    finish() {
      this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
      return performance.now();
    }

    annotate(ratio, width, height) {
      const { pen } = this;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, height);
      pen.fillStyle = pen.strokeStyle = style("--text");
      pen.font = `12px ${getComputedStyle(root).fontFamily}`;
      pen.lineWidth = 1;
      for (const tile of this.tiles) {
        const [left, top] = this.toScreen(tile.x, tile.y), [right, bottom] = this.toScreen(tile.x + tile.w, tile.y + tile.h);
        if (right < 0 || left > width || bottom < 0 || top > height) continue;
        if (tile.slice !== undefined) {
          const name = shorten(pen, slices[tile.slice].name, Math.max(tile.room * this.scale, 60));
          const wide = pen.measureText(name).width, middle = (left + right) / 2;
          const start = wide > right - left ? middle - wide / 2 : left; // above its cells, in its part of the grid
          pen.fillText(name, Math.max(start, 4), Math.max(top - 5, 12));
        }
        if (this.bar) this.scaleBar(tile, left, bottom, width, height);
      }
      if (state.hover >= 0 && (!this.grid || on[sliceOf[state.hover]])) {
        const [x, y] = this.toScreen(this.xy[2 * state.hover], this.xy[2 * state.hover + 1]);
        pen.lineWidth = 2;
        pen.beginPath();
        pen.arc(x, y, Math.max(6, this.pointSize / 2 + 3), 0, 7);
        pen.stroke();
      }
      if (this.path && this.path.length > 1) {
        pen.lineWidth = 1.5;
        pen.beginPath();
        this.path.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
        pen.closePath();
        pen.stroke();
        pen.globalAlpha = 0.12;
        pen.fill();
        pen.globalAlpha = 1;
      }
    }

    scaleBar(tile, left, bottom, width, height) {
      const perUnit = tile.unit * this.scale, seen = Math.min(tile.w * this.scale, width) / 4 / perUnit;
      const ten = 10 ** Math.floor(Math.log10(seen)), length = ten * [5, 2, 1].find((m) => m * ten <= seen * 1.001);
      const x = Math.max(left, 6), y = Math.min(bottom + 10, height - 6), pixels = length * perUnit;
      const unit = (tile.slice === undefined ? this.unit : slices[tile.slice].unit) || "";
      this.pen.fillRect(x, y - 1, pixels, 2);
      this.pen.fillText(`${+length.toPrecision(2)} ${unit}`.trim(), x + pixels + 5, y + 4);
    }

    // The shown cell nearest to a point of the screen, -1 if none is near.
    nearest(sx, sy) {
      const [x, y] = this.toWorld(sx, sy), { order } = state;
      let best = (Math.max(9, this.pointSize / 2 + 4) / this.scale) ** 2, found = -1;
      for (let k = order.length - 1; k >= 0; k--) {
        const i = order[k], dx = this.xy[2 * i] - x, dy = this.xy[2 * i + 1] - y, d = dx * dx + dy * dy;
        if (d < best) [best, found] = [d, i];
      }
      return found;
    }

    // Shown cells inside a path on the screen.
    inside(path) {
      const p = path.map(([x, y]) => this.toWorld(x, y)), found = new Uint8Array(n);
      const [xs, ys] = [p.map((q) => q[0]), p.map((q) => q[1])];
      const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      let many = 0;
      for (const i of state.order) {
        const x = this.xy[2 * i], y = this.xy[2 * i + 1];
        if (x < x0 || x > x1 || y < y0 || y > y1) continue;
        let odd = false;
        for (let a = 0, b = p.length - 1; a < p.length; b = a++) {
          if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) odd = !odd;
        }
        if (odd) [found[i], many] = [1, many + 1];
      }
      return many ? found : null;
    }
  }

  const shorten = (pen, text, width) => {
    if (pen.measureText(text).width <= width) return text;
    let kept = text;
    while (kept.length > 3 && pen.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
    return `${kept}…`;
  };

  // ---- pointer, wheel, keys -----------------------------------------------------------------------------
  let tool = "pan", scrolled = 0;
  addEventListener("scroll", () => (scrolled = performance.now()), { passive: true });
  const listen = (panel) => {
    const { over } = panel, pointers = new Map();
    const at = (event) => {
      const box = over.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    over.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      over.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, at(event));
      if (pointers.size > 1) panel.path = null;
      else if (tool === "lasso" || event.shiftKey) panel.path = [at(event)];
    });
    over.addEventListener("pointermove", (event) => {
      const now = at(event), before = pointers.get(event.pointerId);
      if (!before) return event.pointerType === "mouse" ? hover(panel, now, event) : undefined;
      if (pointers.size === 2) {
        const still = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const [was, is] = [before, now].map(([x, y]) => Math.hypot(x - still[0], y - still[1]));
        panel.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
        if (was > 0) panel.zoom(is / was, (now[0] + still[0]) / 2, (now[1] + still[1]) / 2);
      } else if (panel.path) {
        panel.path.push(now);
        panel.mark();
      } else {
        hover(panel, null);
        panel.pan(now[0] - before[0], now[1] - before[1]);
      }
      pointers.set(event.pointerId, now);
      pointers.moved = true;
    });
    const up = (event) => {
      const start = pointers.get(event.pointerId);
      pointers.delete(event.pointerId);
      if (panel.path) {
        const path = panel.path;
        panel.path = null;
        if (event.type === "pointerup" && path.length > 2) select(panel.inside(path));
        panel.mark();
      } else if (start && !pointers.moved && event.type === "pointerup") hover(panel, at(event), event);
      if (!pointers.size) pointers.moved = false;
    };
    for (const kind of ["pointerup", "pointercancel"]) over.addEventListener(kind, up);
    over.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hover(panel, null));
    over.addEventListener("wheel", (event) => {
      if (performance.now() - scrolled < 250) return; // the page is being scrolled past the panel
      event.preventDefault();
      panel.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...at(event));
    }, { passive: false });
    over.addEventListener("dblclick", (event) => panel.zoom(2, ...at(event)));
    over.addEventListener("keydown", (event) => {
      const { width, height } = panel.measure();
      const move = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
      if (move) panel.pan(...move);
      else if (event.key === "+" || event.key === "=") panel.zoom(1.4, width / 2, height / 2);
      else if (event.key === "-") panel.zoom(1 / 1.4, width / 2, height / 2);
      else if (event.key === "0") panel.fit();
      else if (event.key === "Escape") select(null);
      else return;
      event.preventDefault();
    });
    let size = "";
    new ResizeObserver(() => {
      const { width, height } = panel.measure(), now = `${width} ${height}`;
      if (!width || now === size) return;
      size = now;
      panel.place();
    }).observe(over);
  };

  // ---- what is known of a cell ----------------------------------------------------------------------------
  const tip = find(".tip");
  const say = (column, value) => {
    if (value === missing(column)) return column.missing;
    if (column.kind === "category") return column.names[value];
    const { low, high } = column, text = number(low + (value / 254) * (high - low));
    return value === 254 && column.above ? `≥ ${text}` : text;
  };
  const hover = async (panel, at, event) => {
    const cell = at ? panel.nearest(...at) : -1;
    if (cell !== state.hover) {
      state.hover = cell;
      for (const each of panels) each.mark();
    }
    if (cell < 0) {
      tip.hidden = true;
      return;
    }
    const slice = slices[sliceOf[cell]];
    const [left, top] = [event.clientX, event.clientY];
    const ids = about.ids ? await block(about.ids, lines) : null;
    const rows = [["slice", slice.name], ...(slice.technology ? [["technology", slice.technology]] : [])];
    for (const column of columns) {
      if (column.quiet && column !== state.column) continue;
      rows.push([column.title, say(column, (await valuesOf(column))[cell])]);
    }
    if (state.hover !== cell) return;
    tip.replaceChildren(make("b", ids ? ids[cell] : `cell ${count(cell + 1)}`));
    for (const [name, text] of rows) {
      const row = make("div");
      row.append(make("span", name), make("span", text));
      tip.append(row);
    }
    tip.hidden = false;
    tip.style.left = `${Math.max(4, Math.min(left + 14, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(4, top + 14 + tip.offsetHeight > innerHeight ? top - tip.offsetHeight - 10 : top + 14)}px`;
  };

  // ---- selection --------------------------------------------------------------------------------------------
  const result = find(".selection");
  const select = async (found) => {
    state.selected = found;
    paint();
    result.hidden = !found;
    if (!found) return;
    const cells = state.order.filter((i) => found[i]).sort();
    const types = columns.find((c) => c.key === about.types) || columns.find((c) => c.kind === "category");
    const values = types ? await valuesOf(types) : null;
    const shown = slices.map((_, k) => k).filter((k) => on[k]), table = new Map();
    for (const i of cells) {
      const name = types ? say(types, values[i]) : "cells";
      if (!table.has(name)) table.set(name, slices.map(() => 0));
      table.get(name)[sliceOf[i]]++;
    }
    const total = (row) => row.reduce((a, b) => a + b, 0);
    const rows = [...table].sort((a, b) => total(b[1]) - total(a[1])), most = 15;
    if (rows.length > most) {
      const rest = rows.splice(most - 1);
      rows.push([`${rest.length} others`, slices.map((_, k) => rest.reduce((sum, [, row]) => sum + row[k], 0))]);
    }
    rows.push(["all", slices.map((_, k) => rows.reduce((sum, [, row]) => sum + row[k], 0))]);
    find("b", result).textContent = `${count(cells.length)} ${cells.length === 1 ? "cell" : "cells"} selected`;
    const head = make("tr");
    head.append(make("th", types ? types.title : ""), ...shown.map((k) => make("th", slices[k].name, "n")), make("th", "all slices", "n"));
    const body = rows.map(([name, row]) => {
      const line = make("tr");
      line.append(make("td", name), ...shown.map((k) => make("td", count(row[k]), "n")), make("td", count(total(row)), "n"));
      return line;
    });
    find("table", result).replaceChildren(head, ...body);
    const ids = about.ids ? await block(about.ids, lines) : null;
    find("textarea", result).value = [...cells].map((i) => (ids ? ids[i] : i)).join("\n");
  };
  find(".clear").addEventListener("click", () => select(null));
  find(".copy").addEventListener("click", async (event) => {
    const area = find("textarea", result), button = event.currentTarget, details = area.closest("details");
    try {
      await navigator.clipboard.writeText(area.value);
    } catch {
      details.open = true; // no clipboard in a sandboxed frame: select the text, and try the old way
      area.select();
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy ids"), 1500);
  });

  // ---- legend, slices, coloring -----------------------------------------------------------------------------
  const toggles = (element, single, double) => {
    element.addEventListener("click", (event) => single(event));
    element.addEventListener("dblclick", (event) => (event.preventDefault(), double(event)));
    return element;
  };
  const legend = find(".legend");
  const showLegend = () => {
    const { column, values, hidden } = state, none = missing(column), category = column.kind === "category";
    find("h3", legend).textContent = column.title;
    const tally = new Map();
    for (let i = 0; i < n; i++) if (on[sliceOf[i]]) {
      const key = values[i] === none ? -1 : category ? values[i] : -2;
      tally.set(key, (tally.get(key) || 0) + 1);
    }
    find(".about", legend).textContent = column.about || "";
    const scale = find(".ramp", legend);
    scale.hidden = category;
    if (!category) {
      find("i", scale).style.background = `linear-gradient(to right, ${ramp.filter((_, k) => k % 16 === 0 || k === 255).map((c) => `rgb(${c})`).join(", ")})`;
      const [low, high] = scale.querySelectorAll("span");
      low.textContent = number(column.low);
      high.textContent = `${column.above ? "≥ " : ""}${number(column.high)}`;
    }
    const entries = category
      ? column.names.map((name, k) => [k, name, column.colors[k]]).filter(([k]) => tally.has(k))
      : tally.has(-2) ? [[-2, "measured", ""]] : [];
    if (tally.has(-1)) entries.push([-1, column.missing, other]);
    find("ul", legend).replaceChildren(...(category || entries.length > 1 ? entries : []).map(([key, name, color]) => {
      const item = make("li"), button = make("button"), dot = make("i");
      button.type = "button";
      button.setAttribute("aria-pressed", String(!hidden.has(key)));
      dot.style.background = color || "linear-gradient(90deg, #440154, #21918c, #fde725)";
      button.append(dot, make("span", name), make("small", count(tally.get(key))));
      toggles(button, () => {
        if (!hidden.delete(key)) hidden.add(key);
        refresh();
      }, () => {
        const alone = entries.every(([k]) => k === key || hidden.has(k));
        hidden.clear();
        if (!alone) for (const [k] of entries) if (k !== key) hidden.add(k);
        refresh();
      });
      item.append(button);
      return item;
    }));
    find(".hint", legend).hidden = !find("ul", legend).children.length;
  };
  const tellState = () => {
    const many = state.order.length, step = Math.max(...panels.map((panel) => panel.step));
    const shown = many < n ? `${count(many)} of ${count(n)} cells shown` : `${count(n)} cells`;
    find(".state").textContent = step > 1 ? `${shown}; ${count(Math.ceil(many / step))} of them while moving` : shown;
  };
  const refresh = () => {
    paint();
    const pressed = document.activeElement && legend.contains(document.activeElement)
      ? [...legend.querySelectorAll("button")].indexOf(document.activeElement) : -1;
    showLegend();
    if (pressed >= 0) legend.querySelectorAll("button")[pressed]?.focus();
    tellState();
  };
  const list = find(".slices ul");
  slices.forEach((slice, k) => {
    const item = make("li"), label = make("label"), box = make("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      on[k] = box.checked;
      for (const panel of panels) if (panel.grid) panel.place();
      refresh();
      if (state.selected) select(state.selected);
    });
    const name = make("span", slice.name);
    if (slice.technology && slice.technology !== slice.name) name.append(" ", make("small", slice.technology));
    label.append(box, name, make("small", count(slice.count)));
    item.append(label);
    list.append(item);
  });
  find(".slices").hidden = slices.length < 2;

  const chooser = find(".by"), groups = new Map();
  columns.forEach((column, k) => {
    if (!groups.has(column.group)) {
      const group = make("optgroup");
      group.label = column.group;
      groups.set(column.group, group);
      chooser.append(group);
    }
    const option = make("option", column.title);
    option.value = k;
    groups.get(column.group).append(option);
  });
  const colorBy = async (k) => {
    const column = columns[k];
    chooser.value = k;
    Object.assign(state, { column, values: await valuesOf(column) });
    state.hidden.clear();
    refresh();
  };
  chooser.addEventListener("change", () => colorBy(+chooser.value));
  // names elsewhere on the page, such as marker genes, color the cells when clicked
  for (const element of document.querySelectorAll("[data-color]")) {
    const k = columns.findIndex((column) => column.key === element.dataset.color);
    if (k < 0) continue;
    element.classList.add("colors");
    element.tabIndex = 0;
    element.setAttribute("role", "button");
    const go = () => (colorBy(k), root.scrollIntoView({ block: "start" }));
    element.addEventListener("click", go);
    element.addEventListener("keydown", (event) => event.key === "Enter" && go());
  }
  for (const name of ["pan", "lasso"]) {
    find(`.${name}`).addEventListener("click", () => {
      tool = name;
      root.classList.toggle("drawing", name === "lasso");
      for (const each of ["pan", "lasso"]) find(`.${each}`).setAttribute("aria-pressed", String(each === name));
    });
  }
  find(".size").addEventListener("input", () => panels.forEach((panel) => panel.redraw()));
  find(".reset").addEventListener("click", () => panels.forEach((panel) => panel.fit()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => panels.forEach((panel) => panel.redraw()));

  // ---- begin ------------------------------------------------------------------------------------------------
  const panels = [];
  try {
    root.hidden = false;
    for (const given of about.panels) panels.push(new Panel(given, await block(given.block, wide)));
    for (const panel of panels) panel.place();
    await colorBy(Math.max(0, columns.findIndex((column) => column.key === about.first)));
    for (const part of plain) part.hidden = true;
    root.dataset.state = "ready";
  } catch (error) {
    console.error(error);
    giveUp("The viewer could not be started: pictures take its place.");
  }
})();
