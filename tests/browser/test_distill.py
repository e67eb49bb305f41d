"""A person makes a small student of a model in the page, and translates with it at once."""

from __future__ import annotations

import cyclegan_core
from tests.host.comfyui import Host

from .comfypage import ComfyPage

LISTEN = """() => {
    seen.texts = [];
    app.api.addEventListener('progress_text', event => seen.texts.push(event.detail.text));
}"""

SET = """values => {
    const node = app.graph.nodes.find(node => node.type === 'CycleGAN_Distill');
    for (const [name, value] of Object.entries(values))
        node.widgets.find(widget => widget.name === name).value = value;
}"""

QUICK = {"base_channels": 4, "num_pairs": 8, "steps": 12, "num_held_out": 2}
QUICK |= {"crop_size": 48, "load_size": 64}


def test_person_makes_a_student_and_translates_with_it(page: ComfyPage, host: Host) -> None:
    """From the bundled teacher and the pack's own drawings, by hand."""
    page.tab.evaluate(LISTEN)
    page.new_workflow()
    page.add_node("Load CycleGAN", at=(60, 150))
    page.add_node("CycleGAN Example Pictures", at=(60, 360))
    page.add_node("Load Image", at=(60, 540))
    page.add_node("Distill CycleGAN", at=(480, 150))
    page.add_node("Translate (CycleGAN)", at=(930, 150))
    page.add_node("Preview Image", at=(1110, 600))
    page.drag_link(("CycleGAN_Load", "CYCLEGAN"), ("CycleGAN_Distill", "model"))
    page.drag_link(("CycleGAN_Examples", "folder_a"), ("CycleGAN_Distill", "folder"))
    page.drag_link(("CycleGAN_Distill", "CYCLEGAN"), ("CycleGAN_Translate", "model"))
    page.drag_link(("LoadImage", "IMAGE"), ("CycleGAN_Translate", "image"))
    page.drag_link(("CycleGAN_Translate", "IMAGE"), ("PreviewImage", "images"))
    page.tab.evaluate(SET, QUICK)

    assert page.run() == "execution_success", page.error_text()
    (result,) = page.shown_images("PreviewImage")
    page.fit_view()
    page.shoot("distill-done")
    assert result["size"] == [256, 192]
    texts = page.tab.evaluate("() => seen.texts")
    for phase in ("The teacher translates: crop 1 of 8", "The student learns: step 1 of 12"):
        assert any(text.startswith(phase) for text in texts), texts
    said = page.text_on("CycleGAN_Distill")
    assert said.startswith("On 2 pictures held out: PSNR to the teacher ")
    assert "has the student as my_student/student.safetensors." in said
    assert len(page.shown_images("CycleGAN_Distill")) == 1  # picture, student, teacher
    student = host.output_dir / "cyclegan" / "my_student" / "student.safetensors"
    info = cyclegan_core.inspect_checkpoint(student)
    assert (info.config.base_channels, info.metadata["teacher"]) == (4, "photo → Monet")
    assert info.license == "mit"  # the bundled teacher's

    page.use_modern_nodes()
    page.fit_view()
    page.shoot("distill-modern")
    assert page.drawn_images("CycleGAN_Distill") == 1
