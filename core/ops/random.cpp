#include "weft/random.h"

#include <algorithm>
#include <limits>

#include "core/autograd/recording.h"
#include "core/device/philox.h"
#include "core/ops/op_support.h"
#include "core/value/number.h"
#include "core/value/views.h"

namespace weft {

std::uint64_t Generator::advance(std::uint64_t blocks) {
  const std::uint64_t first = offset_;
  offset_ += blocks;
  return first;
}

namespace {

std::uint64_t next_word(Generator& generator) {
  const PhiloxBlock block = philox(generator.seed(), generator.stream(), generator.advance(1));
  return scalar::join(block.number[0], block.number[1]);
}

}  // namespace

std::uint64_t Generator::below(std::uint64_t bound) {
  if (bound == 0) throw ValueError("random: below(0) has no value to give");
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next_word(*this)) * bound) >> 64);
}

double Generator::uniform() { return scalar::unit_interval(next_word(*this)); }

namespace {

thread_local Generator thread_generator;

Tensor draw(RandomKind kind, const Shape& shape, DType dtype, const TensorOptions& options, Scalar low, Scalar high,
            Generator& generator) {
  Tensor out(Array::empty(shape, dtype, options.device), options.requires_grad);
  const auto per_block = static_cast<std::int64_t>(size_of(dtype) == 8 ? 2 : 4);
  const std::int64_t blocks = out.size() / per_block + (out.size() % per_block != 0 ? 1 : 0);
  PhiloxKey key{generator.seed(), generator.stream(), generator.offset()};
  if (const RandomCapture* capture = random_capture(); capture != nullptr && capture->device == options.device) {
    if (&generator != &thread_generator)
      throw ValueError("random: a recorded step draws from the default generator only");
    key.offset -= capture->start;
    key.base = capture->base;
  }
  backend(options.device)->random(kind, key, low, high, mutable_view(out.array()));
  generator.advance(static_cast<std::uint64_t>(blocks));
  return out;
}

void check_floating(std::string_view op, DType dtype) {
  if (dtype != DType::f32 && dtype != DType::f64)
    throw DTypeError(std::string(op) + ": gives f32 or f64, not " + std::string(name(dtype)));
}

}  // namespace

Generator& default_generator() { return thread_generator; }

void manual_seed(std::uint64_t seed) { thread_generator = Generator(seed); }

Tensor rand(const Shape& shape, const TensorOptions& options, double low, double high, Generator& generator) {
  const DType dtype = options.dtype.value_or(DType::f32);
  check_floating("rand", dtype);
  const double most = dtype == DType::f32 ? std::numeric_limits<float>::max() : std::numeric_limits<double>::max();
  if (!(low <= high)) throw ValueError("rand: low " + number(low) + " exceeds high " + number(high));
  if (!(-most <= low && high <= most && high - low <= most)) {
    throw ValueError("rand: the range from low " + number(low) + " to high " + number(high) + " exceeds that of " +
                     std::string(name(dtype)));
  }
  return draw(RandomKind::uniform, shape, dtype, options, low, high, generator);
}

Tensor randn(const Shape& shape, const TensorOptions& options, double mean, double stddev, Generator& generator) {
  const DType dtype = options.dtype.value_or(DType::f32);
  check_floating("randn", dtype);
  if (!(stddev >= 0)) throw ValueError("randn: stddev must not be " + number(stddev));
  return draw(RandomKind::normal, shape, dtype, options, mean, stddev, generator);
}

Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, const TensorOptions& options,
               Generator& generator) {
  const DType dtype = options.dtype.value_or(DType::i64);
  if (!is_integer(dtype)) throw DTypeError("randint: gives an integer dtype, not " + std::string(name(dtype)));
  if (low >= high)
    throw ValueError("randint: low " + std::to_string(low) + " is not below high " + std::to_string(high));
  if (!fits(low, dtype) || !fits(high - 1, dtype)) {
    throw ValueError("randint: the numbers from low " + std::to_string(low) + " to below high " + std::to_string(high) +
                     " do not fit " + std::string(name(dtype)));
  }
  return draw(RandomKind::integer, shape, dtype, options, low, high, generator);
}

Tensor rand_like(const Tensor& x, double low, double high, Generator& generator) {
  check_floating("rand_like", x.dtype());
  return rand(x.shape(), {.dtype = x.dtype(), .device = x.device()}, low, high, generator);
}

Tensor randperm(std::int64_t n, const TensorOptions& options, Generator& generator) {
  if (n < 0) throw ValueError("randperm: n must not be " + std::to_string(n));
  const DType dtype = options.dtype.value_or(DType::i64);
  check_fits("randperm", std::max<std::int64_t>(n - 1, 0), dtype);
  const Tensor keys = rand({n}, {.dtype = DType::f64, .device = options.device}, 0, 1, generator);
  return Tensor(argsort(keys).to(dtype).array(), options.requires_grad);
}

Tensor bernoulli(const Tensor& p, Generator& generator) {
  check_floating("bernoulli", p.dtype());
  const Tensor probability = p.detach();
  if (p.device().is_cpu() && p.size() > 0) {
    for (const Tensor& end : {min(probability), max(probability)}) {
      const auto value = end.item<double>();
      if (!(value >= 0 && value <= 1)) throw ValueError("bernoulli: a probability must not be " + number(value));
    }
  }
  return less(rand_like(probability, 0, 1, generator), probability).to(p.dtype());
}

}  // namespace weft
