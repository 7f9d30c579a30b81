def test_info_tells_what_is_in_a_file_and_what_tvjax_runs_on(tvjax, scan):
    result = tvjax("info", scan)
    assert result.exit_code == 0, result.output
    for text in ("4 x 40 x 50", "uint32", "95.00%", "noise, gain", "jax", "0.1.0"):
        assert text in result.stdout
