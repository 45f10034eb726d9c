// An exported model: its description, and what it says of samples.

/* global ort */

const METADATA = 14; // the field of an ONNX file that has its texts: name 1, text 2
const BYTES = 2; // the kind of a field that says its own length

/** The fields of a protobuf message: [number, first byte, end]; only those of bytes. */
function* fieldsOf(bytes, start, end) {
  let at = start;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte % 128) * factor;
      if (byte < 128 || at >= end) return value;
    }
  };
  while (at < end) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === BYTES) {
      const size = varint();
      yield [Math.floor(tag / 8), at, at + size];
      at += size;
    } else if (kind === 0) varint();
    else at += kind === 1 ? 8 : 4;
  }
}

function textsOf(bytes) {
  const decoder = new TextDecoder();
  const found = {};
  for (const [number, start, end] of fieldsOf(bytes, 0, bytes.length)) {
    if (number !== METADATA) continue;
    const parts = [...fieldsOf(bytes, start, end)];
    const [key, text] = parts.map(([, first, last]) => decoder.decode(bytes.slice(first, last)));
    found[key] = text;
  }
  return found;
}

/** A model in memory. */
export class Model {
  constructor(session, about) {
    this.session = session;
    this.parameters = JSON.parse(about.parameters);
    this.image = JSON.parse(about.image);
    this.sound = JSON.parse(about.sound);
    this.confidence = about.confidence ? Number(about.confidence) : null;
  }

  /**
   * @param {ArrayBuffer} buffer an ONNX file that src/export.py wrote
   * @throws {Error} with a sentence, where it is none of sounds
   */
  static async of(buffer) {
    const bytes = new Uint8Array(buffer);
    const about = textsOf(bytes);
    if (about.input !== "audio") throw new Error("it is no model of sounds that AVIX exported");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = new URL("node_modules/onnxruntime-web/dist/", document.baseURI).href;
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return new Model(session, about);
  }

  /** All outputs by name as arrays, and the time that they took. */
  async hear(samples) {
    const audio = new ort.Tensor("float32", samples, [1, samples.length]);
    const start = performance.now();
    const outputs = await this.session.run({ audio });
    const ms = performance.now() - start;
    const found = Object.entries(outputs).map(([name, tensor]) => [name, tensor.data]);
    return { ...Object.fromEntries(found), ms };
  }
}
