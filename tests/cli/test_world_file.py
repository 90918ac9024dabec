"""Commands that draw a world take its file for the model."""

from tilegen.world import open_world


def test_the_world_of_a_file_is_drawn_as_the_file_says(run, refused, model, folder):
    open_world(str(model), seed=7, crs="EPSG:32611", device="cpu").save(folder / "world.json")
    words = ["generate", "a.tif", "--size", "16x16", "--model", "world.json", "--device", "cpu"]
    assert "EPSG:32611, 0.5 metre per pixel" in run(*words, "--dry-run").stdout
    said = refused(*words, "--seed", 8)
    assert said == "world.json says which world it is. Leave out seed, or open its model instead."
