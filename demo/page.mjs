// The page: takes a photograph, hands its pixels to the worker, shows what comes back.

const MOST_PIXELS = 300e6; // more than any camera's; decoding them would take gigabytes
const at = (id) => document.getElementById(id);

const models = await (await fetch("models.json")).json();
let worker = null;
let speed = 0; // pixels per millisecond, as measured; 0 before the model is there
let photo = null; // {bitmap, name} as it was opened
let job = 0; // number of the newest translation
let timer = 0;
let fault = ""; // what went wrong with the last translation; another size may do better

for (const [number, model] of models.entries()) {
  at("model").add(new Option(`${model.source} → ${model.target} (${model.name})`, number));
}
at("model-label").hidden = models.length < 2;

function model() {
  return models[Number(at("model").value)];
}

// --- what is going on -------------------------------------------------------------------------

function say(text, { error = false, share = null } = {}) {
  at("status").textContent = text;
  at("status").classList.toggle("error", error);
  at("work").hidden = share === null;
  if (share === null) return;
  if (share === undefined) at("progress").removeAttribute("value");
  else at("progress").value = share;
}

// The network does not tell how far it is; the time that it will take is known well enough.
function sayExpected(pixels) {
  const start = performance.now();
  const expected = pixels / speed;
  const tick = () => {
    const spent = performance.now() - start;
    const left = Math.ceil((expected - spent) / 1000);
    const text = left > 0 ? `about ${left} s left` : "nearly done";
    // Slower towards the end, so that the bar never stands still at its end.
    say(`Translating: ${text}`, { share: spent < expected ? (0.9 * spent) / expected : 1 - (0.1 * expected) / spent });
  };
  clearInterval(timer);
  timer = setInterval(tick, 100);
  tick();
}

// --- the network ------------------------------------------------------------------------------

function start() {
  worker?.terminate();
  clearInterval(timer);
  speed = 0;
  worker = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => on[data.kind](data);
  worker.onerror = (event) => on.failed({ id: null, reason: event.message ?? "its script was not loaded" });
  worker.postMessage({ kind: "load", url: new URL(model().file, document.baseURI).href });
  const { source, target, license } = model();
  at("credits").textContent =
    `Model: ${model().name}, ${source} → ${target}${license ? `, licence ${license}` : ""}. ` +
    "Run by onnxruntime-web (MIT). Nothing is sent anywhere.";
}

const on = {
  loading({ done, total }) {
    const size = `${(done / 1e6).toFixed(1)} MB`;
    say(`Loading the model: ${size}`, { share: total ? done / total : undefined });
  },
  ready(data) {
    speed = data.speed;
    document.body.dataset.ready = "yes";
    if (fault) say(fault, { error: true });
    else if (photo) translate();
    else say("Ready.");
  },
  done({ id, pixels, milliseconds }) {
    if (id !== job) return;
    clearInterval(timer);
    const { width, height } = at("before");
    speed = (width * height) / milliseconds;
    show(at("after"), pixels, width, height);
    const small = photo.bitmap.width > width ? `, reduced from ${photo.bitmap.width}×${photo.bitmap.height}` : "";
    at("facts").textContent = `${width}×${height}${small}; ${(milliseconds / 1000).toFixed(1)} s`;
    at("source").textContent = model().source;
    at("target").textContent = model().target;
    at("result").hidden = false;
    say("Done. Move the line to compare.");
    document.body.dataset.done = id;
  },
  failed({ id, reason }) {
    clearInterval(timer);
    if (id === null) {
      say(`The model can't be run here: ${reason}. Try a newer browser.`, { error: true });
      return;
    }
    // What ran out of memory stays broken, so a fresh one is started.
    const { width, height } = at("before");
    fault = `${width}×${height} pixels could not be translated here (${reason}); choose a smaller size.`;
    start();
  },
};

function translate() {
  if (!speed) return; // it begins when the model is there
  const { width, height } = fitted(photo.bitmap, Number(at("size").value));
  const before = at("before");
  Object.assign(before, { width, height });
  const context = before.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(photo.bitmap, 0, 0, width, height);
  const samples = context.getImageData(0, 0, width, height).data;
  const pixels = new Float32Array(3 * width * height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) pixels[c * width * height + i] = samples[4 * i + c] / 255;
  }
  job += 1;
  fault = "";
  sayExpected(width * height);
  worker.postMessage({ kind: "translate", id: job, pixels, width, height }, [pixels.buffer]);
}

// The size of a picture whose longest side is at most so long; it is never enlarged.
function fitted({ width, height }, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  return { width: Math.max(1, Math.round(scale * width)), height: Math.max(1, Math.round(scale * height)) };
}

// Draw (3,height,width) in [0,1].
function show(canvas, pixels, width, height) {
  Object.assign(canvas, { width, height });
  const picture = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = Math.round(255 * pixels[c * width * height + i]);
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

// --- photographs ------------------------------------------------------------------------------

async function open(blob, name) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    say(`${name} is no picture that this browser can open; save it as JPEG or PNG.`, { error: true });
    return;
  }
  if (bitmap.width * bitmap.height > MOST_PIXELS) {
    say(`${name} has ${bitmap.width}×${bitmap.height} pixels, which is too much for a page; reduce it first.`, {
      error: true,
    });
    return;
  }
  photo = { bitmap, name };
  fault = "";
  at("result").hidden = true;
  translate();
}

function take(files) {
  const [file] = files;
  if (file) open(file, file.name);
}

at("file").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = ""; // the same file may be chosen again
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));
at("example").addEventListener("click", async () => {
  open(await (await fetch("example.jpg")).blob(), "example.jpg");
});
at("size").addEventListener("change", () => {
  fault = "";
  if (photo) translate();
});
at("model").addEventListener("change", () => {
  fault = "";
  at("result").hidden = true;
  start();
});
at("slider").addEventListener("input", (event) => {
  at("compare").style.setProperty("--at", `${event.target.value}%`);
});
at("save").addEventListener("click", () => {
  const stem = photo.name.replace(/\.[^.]*$/, "");
  at("after").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${stem}-${model().target}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
});

say("Loading the model…", { share: undefined });
start();
