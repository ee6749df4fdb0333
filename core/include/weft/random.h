#pragma once

#include <cstdint>

#include "weft/tensor.h"

namespace weft {

/// A stream of random numbers: Philox 4x32-10 (Salmon et al. 2011) of (seed, stream, offset). The same numbers on every
/// device and thread count.
class Generator {
 public:
  explicit Generator(std::uint64_t seed = 0, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  std::uint64_t seed() const { return seed_; }
  std::uint64_t stream() const { return stream_; }
  /// Blocks of four 32-bit numbers used so far; seed, stream and offset are all that resuming needs.
  std::uint64_t offset() const { return offset_; }
  void set_offset(std::uint64_t offset) { offset_ = offset; }
  /// Reserves `blocks` blocks and returns the first one's offset.
  std::uint64_t advance(std::uint64_t blocks);
  /// One integer in [0, bound), on the host. bound > 0.
  std::uint64_t below(std::uint64_t bound);
  /// One number in [0, 1), on the host.
  double uniform();

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t offset_ = 0;
};

/// The generator of this thread, used where none is given. Every thread's begins with seed 0.
Generator& default_generator();
/// Restarts this thread's generator.
void manual_seed(std::uint64_t seed);

/// Uniform in [low, high), f32 where the options name no dtype. Throws DTypeError unless it is f32 or f64.
Tensor rand(const Shape& shape, const TensorOptions& options = {}, double low = 0, double high = 1,
            Generator& generator = default_generator());
/// Normal with the given mean and standard deviation, f32 where the options name no dtype. Throws DTypeError unless it
/// is f32 or f64.
Tensor randn(const Shape& shape, const TensorOptions& options = {}, double mean = 0, double stddev = 1,
             Generator& generator = default_generator());
/// Integers in [low, high), i64 where the options name no dtype. Throws DTypeError unless it is an integer dtype,
/// ValueError where it cannot hold them all.
Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, const TensorOptions& options = {},
               Generator& generator = default_generator());

/// rand of x's shape, dtype and device. Throws DTypeError unless x is f32 or f64.
Tensor rand_like(const Tensor& x, double low = 0, double high = 1, Generator& generator = default_generator());
/// The numbers 0 to n - 1 in random order: where the n numbers that rand gives in f64 stand when they are sorted. i64
/// where the options name no dtype. Throws ValueError when n is negative or an integer dtype cannot hold n - 1.
Tensor randperm(std::int64_t n, const TensorOptions& options = {}, Generator& generator = default_generator());
/// 1 with the probability that p (f32 or f64) has there, 0 otherwise, in p's shape and dtype; takes no gradient. A
/// probability outside [0, 1] throws ValueError on the CPU, and counts as the nearer end, NaN as 0, on a GPU.
Tensor bernoulli(const Tensor& p, Generator& generator = default_generator());

}  // namespace weft
