// What the page alone can't do for the pack's nodes.
//
// The order of widgets on a page may change from version to version, and workflows save their
// values by position. With the names saved beside them, each value finds its widget again.

import { app } from "../../scripts/app.js";

const NAMES = "cyclegan_widgets";

// What the first version saved, which wrote no names.
const FIRST_ORDER = {
  CycleGAN_Translate: ["direction", "memory", "precision", "strength", "work_size", "detail"],
  CycleGAN_Train: [
    "folder_a", "folder_b", "run_name", "steps", "max_minutes", "image_size", "lambda_identity",
    "seed", "resume",
  ],
  CycleGAN_TrainSettings: [
    "preset", "num_blocks", "base_channels", "upsample", "disc_layers", "preprocess", "flip",
    "gan_mode", "lambda_a", "lambda_b", "pool_size", "lr", "lr_discriminator", "schedule",
    "batch_size", "ema_decay", "sample_every", "save_every", "accumulate", "recompute",
    "cuda_graph", "precision",
  ],
};

// Choices that went, and what set the same.
const RENAMED = { CycleGAN_TrainSettings: { preset: { season: "style" } } };

// Wide enough for names of models and folders; the page's own width cuts them off.
const LEAST_WIDTH = 320;
const WIDER = {
  CycleGAN_Load: 380, CycleGAN_Download: 440, CycleGAN_Train: 480, CycleGAN_Distill: 380,
};

// What few need is folded away until a person asks for it. "Nodes 2.0" does that by itself; the
// classic canvas can, too, but has no button for it, and folds what is marked on the widget alone.
const BUTTON = "show_advanced";
const LABELS = {
  en: ["Show advanced inputs", "Hide advanced inputs"],
  zh: ["显示高级输入", "隐藏高级输入"],
};

function setting(name) {
  return app.extensionManager?.setting?.get(name);
}

const isLinked = (node, name) =>
  node.inputs?.some(({ widget, link }) => widget?.name === name && link != null);

// A widget with a wire stays in sight.
function fold(node) {
  if (!node.widgets?.some(({ name }) => name === BUTTON)) return;
  for (const widget of node.widgets)
    if (widget.options?.advanced) widget.advanced = !isLinked(node, widget.name);
}

// A page that leaves a row for a folded widget, too, is told of one without height.
function takeNoRow(node, widget) {
  const isFolded = () => widget.advanced && !node.showAdvanced;
  const get = () => (isFolded() ? () => [0, -4] : undefined); // 4 between two rows
  Object.defineProperty(widget, "computeSize", { get, configurable: true });
}

function nameButton(node) {
  const button = node.widgets?.find(({ name }) => name === BUTTON);
  if (!button) return;
  const [show, hide] = LABELS[String(setting("Comfy.Locale")).slice(0, 2)] ?? LABELS.en;
  button.label = node.showAdvanced ? hide : show;
}

function addFolding(node) {
  const isAlwaysShown = setting("Comfy.Node.AlwaysShowAdvancedWidgets");
  if (isAlwaysShown || !node.widgets?.some(({ options }) => options?.advanced)) return;
  const options = { serialize: false, canvasOnly: true };
  const button = node.addWidget("button", BUTTON, null, () => node.toggleAdvanced(), options);
  button.serialize = false;
  if (!node.getLayoutWidgets)
    for (const widget of node.widgets) if (widget.options?.advanced) takeNoRow(node, widget);
  fold(node);
  nameButton(node);
  node.setSize([node.size[0], node.computeSize()[1]]);
}

const isSaved = ({ serialize }) => serialize !== false;

function inOrder(node, saved) {
  const { [NAMES]: names = FIRST_ORDER[node.type], ...properties } = saved.properties ?? {};
  if (!names || !Array.isArray(saved.widgets_values) || !node.widgets) return saved;
  const renamed = RENAMED[node.type] ?? {};
  const values = new Map(
    saved.widgets_values.map((value, index) => {
      const name = names[index];
      return [name, renamed[name]?.[value] ?? value];
    }),
  );
  return {
    ...saved,
    properties,
    widgets_values: node.widgets
      .filter(isSaved)
      .map(({ name, value }) => (values.has(name) ? values.get(name) : value)),
  };
}

app.registerExtension({
  name: "CycleGAN.widgets",

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("CycleGAN_")) return;
    const { configure, serialize, onConnectionsChange, getLayoutWidgets, toggleAdvanced } =
      nodeType.prototype;

    nodeType.prototype.configure = function (saved) {
      const result = configure.call(this, inOrder(this, saved));
      nameButton(this);
      return result;
    };

    nodeType.prototype.onConnectionsChange = function (...args) {
      fold(this);
      return onConnectionsChange?.apply(this, args);
    };

    if (getLayoutWidgets)
      nodeType.prototype.getLayoutWidgets = function () {
        const isFolded = (widget) => widget.advanced && !this.showAdvanced;
        return getLayoutWidgets.call(this).filter((widget) => !isFolded(widget));
      };

    // The node shrinks again with what it shows; what stands below the widgets keeps its room.
    nodeType.prototype.toggleAdvanced = function () {
      const room = this.size[1] - this.computeSize()[1];
      toggleAdvanced.call(this);
      nameButton(this);
      this.setSize([this.size[0], this.computeSize()[1] + Math.max(0, room)]);
    };

    nodeType.prototype.serialize = function () {
      const saved = serialize.call(this);
      const names = this.widgets?.filter(isSaved).map(({ name }) => name);
      if (names) saved.properties = { ...saved.properties, [NAMES]: names };
      return saved;
    };
  },

  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("CycleGAN_")) return;
    const least = WIDER[node.comfyClass] ?? LEAST_WIDTH;
    if (node.size[0] < least) node.setSize([least, node.size[1]]);
    addFolding(node);
  },
});

// The page gives the text that a node writes on itself two lines; what a training has to say is
// longer. The room grows with it and the node with that, in steps, so that nothing jumps.
const TEXT = "$$node-text-preview";
const LINE = 17;
const LETTER = 6;

// What a node of ours has written on itself last.
const said = new WeakMap();

const textOf = (node) => node.widgets?.find(({ name }) => name === TEXT);

function showAllText(node) {
  const widget = textOf(node);
  if (!widget?.options) return;
  const letters = Math.max(20, (node.size[0] - 40) / LETTER);
  const lines = String(widget.value ?? "").split("\n");
  const count = lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / letters)), 0);
  const height = LINE * count + 28;
  if (height <= (widget.options.getMinHeight?.() ?? 0)) return;
  widget.options.getMinHeight = () => height;
  const needed = node.computeSize()[1];
  if (node.size[1] < needed) node.setSize([node.size[0], needed]);
}

app.api.addEventListener("progress_text", ({ detail }) => {
  const node = app.graph.getNodeById(detail.nodeId);
  if (!node?.comfyClass?.startsWith("CycleGAN_")) return;
  said.set(node, detail.text);
  requestAnimationFrame(() => showAllText(node));
});

// Newer pages take the text off their nodes when a run ends, which is when a person reads it.
for (const ending of ["execution_success", "execution_error", "execution_interrupted"])
  app.api.addEventListener(ending, () =>
    requestAnimationFrame(() => {
      for (const node of app.graph.nodes) {
        if (!said.has(node) || textOf(node)) continue;
        const detail = { nodeId: String(node.id), text: said.get(node) };
        app.api.dispatchEvent(new CustomEvent("progress_text", { detail }));
      }
    }),
  );
