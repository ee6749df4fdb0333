#pragma once

#include "core/backend.h"

namespace weft::cpu {

/// Backend::conv. Columns are gathered a panel at a time, into the first-level cache, on their way into the product;
/// taps that read padding are left out. The same bits for any number of threads.
void conv(ConvPass pass, const ConvShape& shape, const ConstView& a, const ConstView& b, const ConstView* bias,
          const View& out);

}  // namespace weft::cpu
