// What the page shows. Sounds are read in sound.js, the model runs in model.js.

import { Model } from "./model.js";
import { prepared, readSound, record } from "./sound.js";

const EXAMPLE_MODEL = "../model/simple_wide.onnx";
const EXAMPLE_SOUND = "../model/saw.wav";
const UNLIKE = 0.01; // below this p-value a sound is unlike the training sounds
const TIMED = 5; // runs of which the median is shown

const element = (id) => document.getElementById(id);
let model = null;

function show(id, text) {
  element(id).textContent = text;
  element(id).hidden = !text;
}

/** Four digits, without trailing zeros; a minus sign as it is printed. */
const number = (x) => String(Number(x.toPrecision(4))).replace("-", "−");

async function attempt(name, action) {
  show("error", "");
  show("warning", "");
  document.body.dataset.state = "busy";
  try {
    await action();
  } catch (error) {
    element("result").hidden = true;
    show("error", `${name}: ${error.message}.`);
  }
  document.body.dataset.state = "ready";
}

async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`the server has none (${answer.status})`);
  return answer.arrayBuffer();
}

async function setModel(name, buffer) {
  model = await Model.of(buffer);
  element("model-name").textContent = name;
  element("result").hidden = true;
}

async function hear(name, { samples, notes }) {
  const heard = await model.hear(samples);
  const times = [];
  for (let k = 0; k < TIMED; k++) times.push((await model.hear(samples)).ms);
  times.sort((a, b) => a - b);
  const { sample_rate: rate, duration } = model.sound;
  element("result").hidden = false;
  element("sound-name").textContent = name;
  element("notes").textContent = notes.length ? `${notes.join("; ")}.` : "";
  showValues(heard);
  drawWaveform(samples.subarray(0, Math.round(duration * rate)), duration);
  drawSpectrogram(heard);
  const p = heard.unlike?.[0];
  const least = p < UNLIKE ? `p < ${UNLIKE}` : "";
  show("warning", least && `This sound is unlike the training sounds (${least}): do not rely on it.`);
  element("latency").textContent =
    `${times[Math.floor(TIMED / 2)].toFixed(1)} ms from samples to values (median of ${TIMED} runs)`;
}

function showValues(heard) {
  const has = Boolean(heard.low);
  element("interval-head").hidden = !has;
  if (has && model.confidence) {
    element("interval-head").textContent = `interval at ${100 * model.confidence} %`;
  }
  element("values").replaceChildren(
    ...model.parameters.map((parameter, k) => {
      const value = heard.values[k];
      const row = document.createElement("tr");
      row.dataset.name = parameter.name;
      row.dataset.value = value;
      const cell = (text, kind = "") => {
        const made = row.appendChild(document.createElement("td"));
        made.className = kind;
        made.textContent = text;
        return made;
      };
      const unit = parameter.unit ? ` ${parameter.unit}` : "";
      const names = parameter.class_names;
      cell(parameter.name.replaceAll("_", "_\u200b")); // a line may end there
      cell(names ? names[Math.round(value - parameter.min)] : `${number(value)}${unit}`, "number");
      if (has) {
        row.dataset.low = heard.low[k];
        row.dataset.high = heard.high[k];
        cell(`${number(heard.low[k])} … ${number(heard.high[k])}`, "number");
      }
      cell("", "range").append(track(parameter, value, has ? [heard.low[k], heard.high[k]] : null));
      return row;
    }),
  );
}

/** Where a value, and its interval, lie between the parameter's ends. */
function track(parameter, value, interval) {
  const axis = parameter.spacing === "log" ? Math.log : (x) => x;
  const [low, high] = [axis(parameter.min), axis(parameter.max)];
  const percent = (x) => 100 * Math.min(1, Math.max(0, (axis(x) - low) / (high - low)));
  const made = document.createElement("div");
  made.className = "track";
  made.title = `${number(parameter.min)} to ${number(parameter.max)} ${parameter.unit ?? ""}`;
  if (interval) {
    const band = made.appendChild(document.createElement("span"));
    band.className = "band";
    const [left, right] = interval.map(percent);
    band.style.left = `${left}%`;
    band.style.width = `${right - left}%`;
  }
  const dot = made.appendChild(document.createElement("span"));
  dot.className = "value";
  dot.style.left = `${percent(value)}%`;
  return made;
}

function drawWaveform(samples, duration) {
  const canvas = element("waveform");
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const most = samples.reduce((found, x) => Math.max(found, Math.abs(x)), 1e-9);
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(document.body).getPropertyValue("--accent");
  const perColumn = (duration * model.sound.sample_rate) / width;
  for (let x = 0; x < width; x++) {
    const part = samples.subarray(Math.floor(x * perColumn), Math.floor((x + 1) * perColumn) + 1);
    if (!part.length) break;
    const [low, high] = [Math.min(...part), Math.max(...part)].map((y) => y / most);
    const top = ((1 - high) / 2) * height;
    context.fillRect(x, top, 1, Math.max(1, ((high - low) / 2) * height));
  }
  element("waveform-text").textContent =
    `Waveform: 0 to ${number(duration)} s, full height ±${number(most)}`;
}

// Dark to bright, as many as lie between them.
const COLOURS = [[12, 8, 38], [74, 28, 110], [180, 54, 96], [246, 140, 60], [252, 244, 170]];

function colour(byte) {
  const place = (byte / 255) * (COLOURS.length - 1);
  const k = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[k].map((from, c) => from + (place - k) * (COLOURS[k + 1][c] - from));
}

function drawSpectrogram({ image, scale_factors: [low, high] }) {
  const { height, width } = model.image;
  const canvas = element("spectrogram");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const at = 4 * ((height - 1 - row) * width + column); // low frequencies lie below
      pixels.data.set([...colour(image[row * width + column]), 255], at);
    }
  }
  context.putImageData(pixels, 0, 0);
  const rows = model.sound.rows_hz;
  const hertz = rows ? `, ${Math.round(rows[0])} to ${Math.round(rows[1])} Hz upwards` : "";
  element("spectrogram-text").textContent =
    `Spectrogram as the network sees it${hertz}, ${number(low)} (dark) to ${number(high)} dB`;
}

const take = (file) =>
  attempt(file.name, async () => hear(file.name, await readSound(await file.arrayBuffer(), model.sound)));

element("file").addEventListener("change", ({ target }) => {
  if (target.files.length) take(target.files[0]);
  target.value = "";
});
element("model-file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) attempt(file.name, async () => setModel(file.name, await file.arrayBuffer()));
  target.value = "";
});
element("example").addEventListener("click", () =>
  attempt("the example", async () =>
    hear("saw.wav", await readSound(await fetched(EXAMPLE_SOUND), model.sound)),
  ),
);
element("record").addEventListener("click", () =>
  attempt("recording", async () => {
    const button = element("record");
    button.disabled = true;
    button.textContent = "recording…";
    try {
      const { channels, rate } = await record(model.sound.duration + 0.5);
      await hear("recording", await prepared(channels, rate, model.sound));
    } finally {
      button.disabled = false;
      button.textContent = "record";
    }
  }),
);
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    element("drop").classList.toggle("over", name === "dragover");
    const [file] = name === "drop" ? event.dataTransfer.files : [];
    if (file) take(file);
  });
}

attempt("the model", async () => setModel("simple_wide.onnx", await fetched(EXAMPLE_MODEL)));
