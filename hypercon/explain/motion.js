// Moves the points: from moment to moment by the slider or the button, and around the sphere by dragging or the arrow keys.
(function (root) {
  "use strict";
  const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const find = (name) => root.querySelector("[data-part='" + name + "']");
  const points = Array.from(root.querySelectorAll("[data-part='point']"));
  const values = Array.from(root.querySelectorAll("[data-part='value']"));
  const rows = Object.values(data.values);
  const last = data.frames.length - 1;
  const state = { frame: last, turn: data.turn, tilt: data.tilt, timer: null };
  const solid = data.frames[0][0].length === 3;

  function placed(p) {
    if (!solid) return [p[0], p[1], 1];
    const x = Math.cos(state.turn) * p[0] + Math.sin(state.turn) * p[1];
    const far = -Math.sin(state.turn) * p[0] + Math.cos(state.turn) * p[1];
    return [x, Math.cos(state.tilt) * p[2] - Math.sin(state.tilt) * far,
      -(Math.sin(state.tilt) * p[2] + Math.cos(state.tilt) * far)];
  }

  function show() {
    data.frames[state.frame].forEach((p, i) => {
      const [x, y, depth] = placed(p);
      const near = (depth + 1) / 2;
      points[i].setAttribute("cx", (data.radius * x).toFixed(1));
      points[i].setAttribute("cy", (-data.radius * y).toFixed(1));
      points[i].setAttribute("r", (3 + 3 * near).toFixed(2));
      points[i].setAttribute("fill-opacity", (0.25 + 0.75 * near).toFixed(2));
    });
    values.forEach((value, i) => { value.textContent = rows[i][state.frame]; });
    find("moment").textContent = data.moments[state.frame];
    find("slider").value = state.frame;
    find("slider").setAttribute("aria-valuetext", "step " + data.moments[state.frame]);
  }

  function stop() {
    clearInterval(state.timer);
    state.timer = null;
    find("play").textContent = "play";
    find("play").setAttribute("aria-pressed", "false");
  }

  function go(frame) {
    state.frame = Math.max(0, Math.min(last, frame));
    show();
    if (state.frame === last) stop();
  }

  find("play").addEventListener("click", () => {
    if (state.timer !== null) return stop();
    if (state.frame === last) go(0);
    find("play").textContent = "pause";
    find("play").setAttribute("aria-pressed", "true");
    state.timer = setInterval(() => go(state.frame + 1), 60);
  });
  find("slider").addEventListener("input", (event) => { stop(); go(Number(event.target.value)); });

  if (solid) {
    const stage = find("stage");
    const turn = (across, up) => {
      state.turn += across;
      state.tilt = Math.max(-1.5, Math.min(1.5, state.tilt + up));
      show();
    };
    const keys = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    stage.addEventListener("keydown", (event) => {
      if (!(event.key in keys)) return;
      event.preventDefault();
      turn(...keys[event.key]);
    });
    stage.addEventListener("pointermove", (event) => {
      if (event.buttons) turn(event.movementX / 120, event.movementY / 120);
    });
  }
  root.motion = { go, state };
})(document.getElementById("$id"));
