"""The short form of the campaign of networks that are no CycleGAN."""

from __future__ import annotations

from .strangers import famous, refusal


def test_famous_networks_are_refused() -> None:
    networks = list(famous())
    assert len(networks) >= 50
    for name, tensors in networks:
        message = refusal(name, tensors)
        assert "no CycleGAN generator in a known layout" in message or "holds a" in message
        known = ("GauGAN (SPADE)", "StarGAN v2", "DRIT", "StyleGAN")
        assert not name.startswith(known) or name.rstrip("23") in message
