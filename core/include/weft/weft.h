#pragma once

#include "weft/array.h"
#include "weft/device.h"
#include "weft/dtype.h"
#include "weft/error.h"
#include "weft/graph.h"
#include "weft/io.h"
#include "weft/nn/nn.h"
#include "weft/ops.h"
#include "weft/precision.h"
#include "weft/random.h"
#include "weft/shape.h"
#include "weft/tensor.h"
