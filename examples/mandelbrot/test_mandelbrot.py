from PIL import Image


def test_the_picture_has_the_set_in_it(run_example, tmp_path):
    result = run_example("mandelbrot", WIDTH=301, HEIGHT=201, ITERATIONS=60, OUT="set.png")["result"]
    assert result["picture"] == str(tmp_path / "set.png")
    assert 0.2 < result["inside"] < 0.3  # of this frame: the set's area is 1.506, the frame's 6
    with Image.open(tmp_path / "set.png") as picture:
        assert picture.size == (301, 201)
        assert picture.getpixel((220, 100)) == (0, 0, 0)  # c = 0, in the set
        assert picture.getpixel((5, 5)) != (0, 0, 0)
