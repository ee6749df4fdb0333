#include <algorithm>
#include <cstdint>
#include <limits>

#include "core/device/conv_plan.h"
#include "core/device/integer.h"
#include "cuda/array/element.h"
#include "cuda/array/walk.h"
#include "cuda/matmul/gemm.h"

#include "core/device/winograd_transform.h"
#include "cuda/conv/algorithms.h"

// 3x3 convolutions by Winograd's F(m x m, 3x3), m = 2 or 4 (core/device/winograd_transform.h). With e = m + 2, the nine
// products of an output become e² / m² and transforms, which replace the loop nest of a convolution by
//
//   for each of e² places of a square:
//     y'(tiles, k) = x'(tiles, c) · w'(c, k)              one batched product by cuBLASLt
//
//        x                 x' of e² matrices         y' of e² matrices            y
//   ┌──┬──┬──┐   tile      ┌─────────┐   product     ┌─────────┐   output    ┌──┬──┬──┐
//   ├──┼──┼──┤  ───────▶  │ tiles x │  ─────────▶  │ tiles x │  ────────▶  ├──┼──┼──┤
//   └──┴──┴──┘   kernel    │ channels│   with w'     │ filters │   kernel    └──┴──┴──┘
//
// winograd_filter_kernel makes w' of the weight first. The input gradient is the same with the filters turned round.
// The weight gradient transforms tiles of x and of y's gradient, sums e² products over all tiles, and maps these back
// by winograd_filter_kernel. A thread transforms one tile, one vector of channels, in registers; its neighbours have
// the neighbouring channels, so that they read and write whole transactions. x' and y' go through device memory in
// chunks of tiles, of about Limits::column_bytes.
namespace weft::cuda {
namespace {

constexpr int kThreads = 128;  // of which each may have all 255 registers, and two blocks still share a multiprocessor
constexpr std::int64_t kChunkTiles = 256;  // a chunk has a multiple, because sums over ragged ones are slow
constexpr std::int64_t kVectorBytes =
    8;  // of channels: a thread keeps e² vectors in registers, which wider ones exceed

/// Neighbouring channels, as one number.
template <class T, int Count>
struct alignas(sizeof(T) * Count) Channels {
  T value[Count];

  friend WEFT_DEVICE Channels operator+(Channels a, Channels b) {
    WEFT_UNROLL
    for (int i = 0; i < Count; ++i) a.value[i] += b.value[i];
    return a;
  }
  friend WEFT_DEVICE Channels operator-(Channels a, Channels b) {
    WEFT_UNROLL
    for (int i = 0; i < Count; ++i) a.value[i] -= b.value[i];
    return a;
  }
  friend WEFT_DEVICE Channels operator-(Channels a) {
    WEFT_UNROLL
    for (int i = 0; i < Count; ++i) a.value[i] = -a.value[i];
    return a;
  }
  friend WEFT_DEVICE Channels operator*(Channels a, T b) {
    WEFT_UNROLL
    for (int i = 0; i < Count; ++i) a.value[i] *= b;
    return a;
  }
};

/// A number > 0 that divides; multiplies instead where all dividends are below 2^31.
struct BoundedDivisor {
  std::int64_t value = 1;
  bool narrow = false;
  FastDivisor32 divisor;

  BoundedDivisor() = default;
  BoundedDivisor(std::int64_t size, std::int64_t dividends)
      : value(std::max<std::int64_t>(size, 1)), narrow(dividends < INT32_MAX && size < INT32_MAX) {
    if (narrow) divisor = FastDivisor32(static_cast<std::uint32_t>(value));
  }
  WEFT_DEVICE std::int64_t quotient(std::int64_t n) const {
    return narrow ? divisor.quotient(static_cast<std::uint32_t>(n)) : n / value;
  }
};

/// The tiles of images (height, width) of channels-last vectors: tile i begins at `step` times its place less
/// `padding`, which may be negative.
struct Tiles {
  BoundedDivisor across, down, vectors;  ///< tiles along the axes; vectors of a pixel
  std::int64_t height = 0, width = 0, step = 1, pad_y = 0, pad_x = 0;
  std::int64_t first = 0, threads = 0;  ///< tile of the chunk; tiles of the chunk · vectors
};

/// What thread i works on: a vector of a tile, and where the tile's first pixel would be.
struct TileOrigin {
  std::int64_t tile, vector, image, y, x;  // tile: within the chunk
};

WEFT_DEVICE TileOrigin tile_origin(const Tiles& tiles, std::int64_t i) {
  TileOrigin p{};
  p.tile = tiles.vectors.quotient(i);
  p.vector = i - p.tile * tiles.vectors.value;
  const std::int64_t line = tiles.across.quotient(tiles.first + p.tile);
  p.image = tiles.down.quotient(line);
  p.y = (line - p.image * tiles.down.value) * tiles.step - tiles.pad_y;
  p.x = (tiles.first + p.tile - line * tiles.across.value) * tiles.step - tiles.pad_x;
  return p;
}

/// Transforms tiles of source by Map; out: (kOut², tiles, vectors), matrices `matrix` vectors apart.
template <class Map, class P>
WEFT_KERNEL_OF(kThreads)
winograd_tile_kernel(Tiles tiles, const P* source, P* out, std::int64_t matrix) {
  const std::int64_t i = global_thread();
  if (i >= tiles.threads) return;
  const TileOrigin at = tile_origin(tiles, i);
  const P* const image = source + at.image * tiles.height * tiles.width * tiles.vectors.value + at.vector;
  P* const to = out + at.tile * tiles.vectors.value + at.vector;
  winograd::both_sides<Map, P>(
      [&](int row, int col) {
        const std::int64_t y = at.y + row, x = at.x + col;
        P value{};
        if (y >= 0 && y < tiles.height && x >= 0 && x < tiles.width) {
          value = image[(y * tiles.width + x) * tiles.vectors.value];
        }
        return value;
      },
      [&](int row, int col, P value) { to[(row * Map::kOut + col) * matrix] = value; });
}

/// The inverse: tiles (kIn², tiles, vectors) to the pixels of out, plus bias unless null.
template <class Map, class P>
WEFT_KERNEL_OF(kThreads)
winograd_output_kernel(Tiles tiles, const P* source, std::int64_t matrix, const P* bias, P* out) {
  const std::int64_t i = global_thread();
  if (i >= tiles.threads) return;
  const TileOrigin at = tile_origin(tiles, i);
  P* const image = out + at.image * tiles.height * tiles.width * tiles.vectors.value + at.vector;
  const P* const from = source + at.tile * tiles.vectors.value + at.vector;
  P shift{};
  if (bias != nullptr) shift = bias[at.vector];
  winograd::both_sides<Map, P>([&](int row, int col) { return from[(row * Map::kIn + col) * matrix]; },
                               [&](int row, int col, P value) {
                                 const std::int64_t y = at.y + row, x = at.x + col;
                                 if (y >= tiles.height || x >= tiles.width) return;
                                 image[(y * tiles.width + x) * tiles.vectors.value] = value + shift;
                               });
}

/// Thread i maps the square of channel i % vectors of filter i / vectors. Filters are `source_filter` apart, and place
/// p of a square is p·source_step after its filter; in `out` likewise. With `flipped` the source is read backwards.
struct Filters {
  BoundedDivisor vectors;
  std::int64_t threads = 0, source_step = 0, source_filter = 0, out_step = 0, out_filter = 0;
  bool flipped = false;
};

template <class Map, class P>
WEFT_KERNEL_OF(kThreads)
winograd_filter_kernel(Filters g, const P* source, P* out) {
  const std::int64_t i = global_thread();
  if (i >= g.threads) return;
  const std::int64_t filter = g.vectors.quotient(i), vector = i - filter * g.vectors.value;
  const P* const from = source + filter * g.source_filter + vector;
  P* const to = out + filter * g.out_filter + vector;
  winograd::both_sides<Map, P>(
      [&](int row, int col) {
        const int at = row * Map::kIn + col;
        return from[(g.flipped ? Map::kIn * Map::kIn - 1 - at : at) * g.source_step];
      },
      [&](int row, int col, P value) { to[(row * Map::kOut + col) * g.out_step] = value; });
}

bool aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % kVectorBytes == 0; }

/// body(Type<P>{}, elements of P) for the widest vectors that `channels` and the addresses allow.
template <class T, class Body>
void with_vectors(std::int64_t channels, bool is_aligned, const Body& body) {
  constexpr int kWide = static_cast<int>(kVectorBytes / static_cast<std::int64_t>(sizeof(T)));
  if constexpr (kWide > 1) {
    if (is_aligned && channels % kWide == 0) return body(Type<Channels<T, kWide>>{}, kWide);
  }
  body(Type<Channels<T, 1>>{}, 1);
}

/// A pass for one type and tile.
template <class T, int m>
class Winograd {
 public:
  Winograd(CudaBackend& device, const ConvCall& call)
      : device_(device), shape_(call.shape), precision_(call.precision) {}

  /// source (n, in..., inner) to out (n, out..., columns); the input gradient swaps the two sides of the shape.
  void convolve(bool backward, const T* source, const T* weight, const T* bias, T* out) {
    const Side in = side(backward), to = side(!backward);
    const std::int64_t tiles = count(to);
    if (tiles == 0 || to.channels == 0) return;
    const std::int64_t filter = shape_.k * shape_.c;
    const Scratch weights(device_.context(), bytes(kMatrices * filter));
    transform_weight(backward, weight, weights.as<T>());
    const std::int64_t chunk = chunk_tiles(tiles);
    const Scratch inputs(device_.context(), bytes(kMatrices * chunk * in.channels));
    const Scratch products(device_.context(), bytes(kMatrices * chunk * to.channels));
    for (std::int64_t first = 0; first < tiles; first += chunk) {
      const std::int64_t rows = std::min(chunk, tiles - first);
      const std::int64_t pad = backward ? 2 : 0, sign = backward ? -1 : 1;
      transform<winograd::Input<m, T>>(in, to, pad + sign * shape_.padding[1], pad + sign * shape_.padding[2], first,
                                       rows, source, inputs.as<T>());
      Gemm g = product(rows, to.channels, in.channels);
      g.a = {inputs.data(), in.channels, 1, rows * in.channels};
      g.b = backward ? Matrices{weights.data(), shape_.c, 1, filter} : Matrices{weights.data(), 1, shape_.c, filter};
      g.out = products.data();
      g.out_row = to.channels;
      g.out_batch = rows * to.channels;
      gemm(device_, g);
      store(to, first, rows, products.as<T>(), bias, out);
    }
  }

  void weight_grad(const T* y_grad, const T* x, T* out) {
    const Side in = side(false), to = side(true);
    const std::int64_t tiles = count(to), filter = shape_.k * shape_.c;
    if (filter == 0) return;
    if (tiles == 0) return device_.fill(View{out, {9 * filter}, {1}, dtype_of<T>}, 0);
    const std::int64_t chunk = chunk_tiles(tiles);
    const Scratch inputs(device_.context(), bytes(kMatrices * chunk * in.channels));
    const Scratch outputs(device_.context(), bytes(kMatrices * chunk * to.channels));
    const Scratch sums(device_.context(), bytes(kMatrices * filter));
    for (std::int64_t first = 0; first < tiles; first += chunk) {
      const std::int64_t rows = std::min(chunk, tiles - first);
      transform<winograd::Input<m, T>>(in, to, shape_.padding[1], shape_.padding[2], first, rows, x, inputs.as<T>());
      transform<winograd::OutputGrad<m, T>>(to, to, 0, 0, first, rows, y_grad, outputs.as<T>());
      Gemm g = product(shape_.k, shape_.c, rows);
      g.a = {outputs.data(), 1, shape_.k, rows * shape_.k};
      g.b = {inputs.data(), shape_.c, 1, rows * shape_.c};
      g.out = sums.data();
      g.out_row = shape_.c;
      g.out_batch = filter;
      g.accumulate = first > 0;
      gemm(device_, g);
    }
    filters<winograd::WeightGrad<m, T>>(sums.as<T>(), filter, shape_.c, out, shape_.c, 9 * shape_.c, false);
  }

 private:
  static constexpr std::int64_t kMatrices = (m + 2) * (m + 2);

  struct Side {
    std::int64_t height, width, channels;
  };

  Side side(bool output) const {
    return output ? Side{shape_.out[1], shape_.out[2], shape_.k} : Side{shape_.in[1], shape_.in[2], shape_.c};
  }

  static std::size_t bytes(std::int64_t elements) { return static_cast<std::size_t>(elements) * sizeof(T); }

  std::int64_t count(const Side& tiled) const {
    return shape_.n * ceil_div(tiled.height, m) * ceil_div(tiled.width, m);
  }

  std::int64_t chunk_tiles(std::int64_t tiles) const {
    const std::int64_t tile_bytes = kMatrices * (shape_.c + shape_.k) * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t most =
        std::max<std::int64_t>(device_.context().limits.column_bytes / std::max<std::int64_t>(tile_bytes, 1), 1);
    std::int64_t chunk = even_part(tiles, most);
    if (most >= kChunkTiles) chunk = round_up(chunk, kChunkTiles);
    return std::min(chunk, tiles);
  }

  Gemm product(std::int64_t rows, std::int64_t columns, std::int64_t inner) const {
    Gemm g;
    g.in = g.out_type = dtype_of<T>;
    g.precision = precision_;
    g.batch = kMatrices;
    g.m = rows;
    g.n = columns;
    g.k = inner;
    return g;
  }

  /// Tiles [first, first + rows) that cover images of the size of `tiled`, read in images of `image`.
  Tiles tiles_of(const Side& image, const Side& tiled, std::int64_t first, std::int64_t rows, int vector) const {
    const std::int64_t all = count(tiled);
    Tiles tiles;
    tiles.across = BoundedDivisor(ceil_div(tiled.width, m), all);
    tiles.down = BoundedDivisor(ceil_div(tiled.height, m), all);
    tiles.vectors = BoundedDivisor(image.channels / vector, rows * (image.channels / vector));
    tiles.height = image.height;
    tiles.width = image.width;
    tiles.step = m;
    tiles.first = first;
    tiles.threads = rows * (image.channels / vector);
    return tiles;
  }

  template <class Map>
  void transform(const Side& image, const Side& tiled, std::int64_t pad_y, std::int64_t pad_x, std::int64_t first,
                 std::int64_t rows, const T* source, T* out) {
    with_vectors<T>(image.channels, aligned(source), [&](auto type, int vector) {
      using P = typename decltype(type)::type;
      Tiles tiles = tiles_of(image, tiled, first, rows, vector);
      tiles.pad_y = pad_y;
      tiles.pad_x = pad_x;
      launch({"winograd_tile", blocks_for(tiles.threads, kThreads), kThreads, device_.context().stream},
             winograd_tile_kernel<Map, P>, tiles, reinterpret_cast<const P*>(source), reinterpret_cast<P*>(out),
             tiles.threads);
    });
  }

  void store(const Side& image, std::int64_t first, std::int64_t rows, const T* source, const T* bias, T* out) {
    with_vectors<T>(image.channels, aligned(out) && aligned(bias), [&](auto type, int vector) {
      using P = typename decltype(type)::type;
      const Tiles tiles = tiles_of(image, image, first, rows, vector);
      launch({"winograd_output", blocks_for(tiles.threads, kThreads), kThreads, device_.context().stream},
             winograd_output_kernel<winograd::Output<m, T>, P>, tiles, reinterpret_cast<const P*>(source),
             tiles.threads, reinterpret_cast<const P*>(bias), reinterpret_cast<P*>(out));
    });
  }

  void transform_weight(bool backward, const T* weight, T* out) {
    filters<winograd::Weight<m, T>>(weight, shape_.c, 9 * shape_.c, out, shape_.k * shape_.c, shape_.c, backward);
  }

  /// Maps the squares of all filters and channels; steps in elements.
  template <class Map>
  void filters(const T* source, std::int64_t source_step, std::int64_t source_filter, T* out, std::int64_t out_step,
               std::int64_t out_filter, bool flipped) {
    with_vectors<T>(shape_.c, aligned(source) && aligned(out), [&](auto type, int vector) {
      using P = typename decltype(type)::type;
      Filters g;
      g.threads = shape_.k * (shape_.c / vector);
      g.vectors = BoundedDivisor(shape_.c / vector, g.threads);
      g.source_step = source_step / vector;
      g.source_filter = source_filter / vector;
      g.out_step = out_step / vector;
      g.out_filter = out_filter / vector;
      g.flipped = flipped;
      launch({"winograd_filter", blocks_for(g.threads, kThreads), kThreads, device_.context().stream},
             winograd_filter_kernel<Map, P>, g, reinterpret_cast<const P*>(source), reinterpret_cast<P*>(out));
    });
  }

  CudaBackend& device_;
  const ConvShape& shape_;
  Precision precision_;
};

template <class T, int m>
void winograd_of(CudaBackend& device, const ConvCall& call) {
  Winograd<T, m> winograd(device, call);
  const T* const a = call.a.as<T>();
  if (call.pass == ConvPass::weight_grad) return winograd.weight_grad(a, call.b.as<T>(), call.out.as<T>());
  winograd.convolve(call.pass == ConvPass::input_grad, a, call.b.as<T>(), call.bias.as<T>(), call.out.as<T>());
}

}  // namespace

void winograd(CudaBackend& device, int tile, const ConvCall& call) {
  const DType dtype = call.a.dtype;
  if (dtype == DType::f32) return (tile == 2 ? winograd_of<float, 2> : winograd_of<float, 4>)(device, call);
  if (dtype == DType::f64) return (tile == 2 ? winograd_of<double, 2> : winograd_of<double, 4>)(device, call);
  throw DTypeError("winograd: dtype " + std::string(name(dtype)) + ", expected f32 or f64");
}

}  // namespace weft::cuda
