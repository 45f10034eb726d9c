// Sound files as samples at the model's rate, one channel, from the beginning of the sound on.

const SILENT_CHANNEL = 1e-3; // of the loudest channel's peak: an open input has noise
const LOUD = 0.01; // of the peak, -40 dB: what belongs to the sound
const ATTACK_S = 0.003; // a sound that is loud so soon after silence began there

/** Samples of a WAV file as it has them, {channels: [Float32Array], rate}; null: no such file. */
function readWav(buffer) {
  const view = new DataView(buffer);
  const text = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 12 || text(0) !== "RIFF" || text(8) !== "WAVE") return null;
  let format = null;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const [name, size] = [text(at), view.getUint32(at + 4, true)];
    const start = at + 8;
    if (name === "fmt " && size >= 16) {
      const number = (offset) => view.getUint16(start + offset, true);
      const tag = number(0) === 0xfffe ? number(24) : number(0);
      format = { tag, count: number(2), rate: view.getUint32(start + 4, true), bits: number(14) };
    }
    if (name === "data" && format) {
      return samplesOf(view, start, Math.min(size, buffer.byteLength - start), format);
    }
    at = start + size + (size % 2);
  }
  return null;
}

function samplesOf(view, start, size, { tag, count, rate, bits }) {
  const readers = {
    "1 8": (at) => (view.getUint8(at) - 128) / 128,
    "1 16": (at) => view.getInt16(at, true) / 32768,
    "1 24": (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 65536) / 8388608,
    "1 32": (at) => view.getInt32(at, true) / 2147483648,
    "3 32": (at) => view.getFloat32(at, true),
    "3 64": (at) => view.getFloat64(at, true),
  };
  const read = readers[`${tag} ${bits}`];
  if (!read || !count || !rate) return null;
  const bytes = bits / 8;
  const frames = Math.floor(size / (bytes * count));
  const channels = Array.from({ length: count }, () => new Float32Array(frames));
  channels.forEach((channel, k) => {
    for (let n = 0; n < frames; n++) channel[n] = read(start + (n * count + k) * bytes);
  });
  return { channels, rate };
}

async function decode(buffer, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  const decoded = await context.decodeAudioData(buffer);
  const numbers = Array.from({ length: decoded.numberOfChannels }, (_, k) => k);
  return { channels: numbers.map((k) => decoded.getChannelData(k)), rate: decoded.sampleRate };
}

const peak = (samples) => samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

function mixed(channels) {
  const peaks = channels.map(peak);
  const heard = channels.filter((_, k) => peaks[k] > SILENT_CHANNEL * Math.max(...peaks));
  if (heard.length < 2) return heard[0] ?? channels[0];
  return heard[0].map((_, n) => heard.reduce((sum, own) => sum + own[n], 0) / heard.length);
}

/** The sample at which a sound begins, as src/synth/onset.py finds it. */
function onset(samples, rate, leadSeconds) {
  const least = LOUD * peak(samples);
  const loud = samples.findIndex((x) => Math.abs(x) >= least);
  if (leadSeconds > 0) return Math.max(0, loud - Math.round(leadSeconds * rate));
  const heard = samples.findIndex((x) => x !== 0);
  const begin = heard > 1 ? heard - 1 : 0;
  return loud - begin <= ATTACK_S * rate ? begin : loud;
}

async function resampled(samples, from, to) {
  const context = new OfflineAudioContext(1, Math.ceil((samples.length * to) / from), to);
  const buffer = context.createBuffer(1, samples.length, from);
  buffer.copyToChannel(samples, 0);
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

/**
 * Read a file for a model.
 *
 * @param {ArrayBuffer} buffer the file's bytes
 * @param {object} wanted the model's description of its sounds
 * @returns {Promise<{samples: Float32Array, notes: string[]}>} with how the sound was changed
 * @throws {Error} with a sentence, where it is no sound
 */
export async function readSound(buffer, wanted) {
  const rate = wanted.sample_rate;
  let sound = readWav(buffer);
  try {
    sound ??= await decode(buffer, rate);
  } catch {
    throw new Error("it cannot be read as a sound");
  }
  return prepared(sound.channels, sound.rate, wanted);
}

/** The same of samples that are read already. */
export async function prepared(channels, from, wanted) {
  const rate = wanted.sample_rate;
  const notes = [];
  let samples = mixed(channels);
  if (channels.length > 1) notes.push(`${channels.length} channels mixed down to one`);
  if (!samples.length) throw new Error("there are no samples in it");
  if (!samples.every(Number.isFinite)) throw new Error("it holds samples that are no numbers");
  if (peak(samples) === 0) throw new Error("it is silent");
  if (wanted.start === "onset") {
    const begin = onset(samples, from, wanted.lead_s);
    if (begin) notes.push(`the sound begins at ${(begin / from).toFixed(3)} s`);
    samples = samples.slice(begin);
  }
  if (from !== rate) {
    samples = await resampled(samples, from, rate);
    notes.push(`resampled from ${from} to ${rate} Hz`);
  }
  const seconds = samples.length / rate;
  const length = wanted.duration;
  if (seconds < length) notes.push(`padded from ${seconds.toFixed(3)} to ${length.toFixed(3)} s`);
  if (seconds > length) notes.push(`only the first ${length.toFixed(3)} of ${seconds.toFixed(3)} s`);
  return { samples, notes };
}

/** Record the microphone for some seconds, as it is: {channels, rate}. */
export async function record(seconds) {
  const asItIs = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: asItIs });
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule("recorder.js");
    const node = new AudioWorkletNode(context, "recorder");
    context.createMediaStreamSource(stream).connect(node);
    const blocks = [];
    const wanted = seconds * context.sampleRate;
    await new Promise((done) => {
      let count = 0;
      node.port.onmessage = ({ data }) => {
        blocks.push(data);
        count += data.length;
        if (count >= wanted) done();
      };
    });
    const samples = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
    blocks.reduce((at, block) => (samples.set(block, at), at + block.length), 0);
    return { channels: [samples], rate: context.sampleRate };
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
  }
}
