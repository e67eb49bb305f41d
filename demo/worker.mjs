// The network, beside the page, so that the page lives while the network computes.
// Takes {kind: "load", url} and {kind: "translate", id, pixels, width, height}; pixels are
// (3,height,width) float32 in [0,1], which is what an exported model takes and gives.

import * as ort from "./onnxruntime/ort.wasm.min.mjs";

const WARM_UP = 128; // pixels of the side of the pictures that tell how fast this computer is

ort.env.wasm.wasmPaths = new URL("./onnxruntime/", import.meta.url).href;
// Several threads need shared memory, which browsers give to isolated pages only.
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency) : 1;

let session = null;

self.onmessage = async ({ data }) => {
  try {
    if (data.kind === "load") await load(data.url);
    else await translate(data);
  } catch (error) {
    self.postMessage({ kind: "failed", id: data.id ?? null, reason: String(error?.message ?? error) });
  }
};

async function load(url) {
  session = await ort.InferenceSession.create(await fetched(url));
  await run(new Float32Array(3 * WARM_UP * WARM_UP), WARM_UP, WARM_UP);
  const start = performance.now();
  await run(new Float32Array(3 * WARM_UP * WARM_UP), WARM_UP, WARM_UP);
  self.postMessage({ kind: "ready", speed: (WARM_UP * WARM_UP) / (performance.now() - start) });
}

async function translate({ id, pixels, width, height }) {
  const start = performance.now();
  const result = await run(pixels, width, height);
  self.postMessage({ kind: "done", id, pixels: result, milliseconds: performance.now() - start }, [
    result.buffer,
  ]);
}

async function run(pixels, width, height) {
  const images = new ort.Tensor("float32", pixels, [1, 3, height, width]);
  const { translations } = await session.run({ images });
  return translations.data;
}

// A file's bytes; the page hears how many are there.
async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} is not there (${response.status})`);
  const total = Number(response.headers.get("Content-Length")) || 0;
  const parts = [];
  let done = 0;
  for (const reader = response.body.getReader(); ; ) {
    const part = await reader.read();
    if (part.done) break;
    parts.push(part.value);
    done += part.value.length;
    self.postMessage({ kind: "loading", done, total });
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
