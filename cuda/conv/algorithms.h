#pragma once

#include "cuda/runtime/backend.h"

/// Algorithms of CudaBackend::conv, each in the file of its name.
namespace weft::cuda {

/// The definition in plain loops (core/device/conv_reference.h).
void conv_reference(Context& context, const ConvCall& call);

/// Convolves directly where groups == c and k is a multiple of it. f32, f64, bf16 (sums in f32).
void depthwise(CudaBackend& device, const ConvCall& call);

/// ConvAlgo::implicit_gemm: the product with columns that are gathered into shared memory as they are multiplied, one
/// launch for a pass of up to 8 phases (an input gradient of stride 3 has 9). f32 in fused multiply-adds or, with
/// precision tf32, on tensor cores; bf16 on tensor cores with sums in f32.
void implicit_gemm(Context& context, const ConvCall& call);
/// Its weight gradient, and bias_grad unless that is absent.
void implicit_weight_grad(Context& context, const ConvCall& call);

/// Winograd's F(tile x tile, 3x3), tile 2 or 4 (core/device/winograd_transform.h), f32 or f64. The shape has filter
/// {1, 3, 3}, stride, dilation and groups 1, in[0] and out[0] 1, padding[0] 0; any padding >= 0 on the other axes and
/// any sizes. With precision tf32 the products round, and large tiles magnify that.
void winograd(CudaBackend& device, int tile, const ConvCall& call);

}  // namespace weft::cuda
