"""The emulated device's cases on a GPU: kernels, products, visits, fields and graphs."""

import pytest

from tests.device.test_fields import (  # noqa: F401
    test_contrast_and_whitening_agree_with_float64,
    test_lcn_agrees_with_float64,
    test_lcn_in_rectangles_agrees_with_the_whole,
    test_moments_of_rows_agree_with_the_host,
)
from tests.device.test_graphs import (  # noqa: F401
    test_a_block_through_two_layers_agrees_with_the_host,
    test_commits_are_written_from_the_device_and_read_to_it,
)
from tests.device.test_kernels import (  # noqa: F401
    test_bfloat16_is_the_host_s_and_comes_back_exactly,
    test_bfloat16_of_nan_is_nan,
    test_code_terms_fill_the_slope_and_sum_the_roots,
    test_finish_step_adds_parts_and_descends_alpha,
    test_gradient_terms_sum_g_s,
    test_initial_weights_have_the_host_s_bits,
    test_residual_terms_sum_over_images,
    test_rounding_to_bfloat16_takes_columns_of_a_matrix,
    test_update_rows_leaves_rows_of_unit_norm,
)
from tests.device.test_visits import (  # noqa: F401
    test_a_dense_visit_agrees_with_float64,
    test_a_dense_visit_rounds_its_momentum_after_a_mini_batch,
    test_a_local_visit_agrees_with_float64,
    test_a_local_visit_rounds_its_momentum_once,
    test_codes_agree_with_float64,
    test_fields_of_half_precision_are_read_and_written,
)

pytestmark = pytest.mark.gpu
