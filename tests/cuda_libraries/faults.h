#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

// What tests tell the stand-ins of CUDA's runtime (cudart.cpp) and of cuBLASLt (cublaslt.cpp), and read of them.

namespace weft::cuda_libraries {

/// Calls of the two libraries: counted by function, and one of them failing. Functions that report errors do not count.
class Faults {
 public:
  /// The next call of the function fails with the library's `status`.
  void fail(const std::string& function, int status);
  /// Call number `number` of any function from now on, the first being 1, fails with the `unknown` of its library.
  void fail_call(std::uint64_t number);
  void never_fail();
  /// Whether a failure that was asked for is still to come.
  bool pending() const;
  std::map<std::string, std::uint64_t> calls() const;
  std::uint64_t calls_of(const std::string& function) const;
  std::uint64_t all_calls() const;

  /// For the stand-ins: counts the call, and returns its status: 0, or what it fails with.
  int enter(const char* function, int unknown);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> calls_;
  std::map<std::string, int> failing_;
  std::uint64_t all_ = 0, failing_call_ = 0;
};
Faults& faults();

/// Objects of either library that were made and not destroyed: by kind.
class LiveObjects {
 public:
  void add(const std::string& kind, int count);
  std::map<std::string, int> counts() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int> counts_;
};
LiveObjects& live_objects();

/// A GPU as the driver reports it.
struct Gpu {
  std::string name = "CPU standing in for CUDA";
  int major = 9, minor = 0;
};
struct Driver {
  int count_error = 0;  ///< the cudaError_t of cudaGetDeviceCount
  int version = 13000;
  std::vector<Gpu> gpus = {{}, {}};
  bool pools = true;  ///< whether the devices allocate in stream order
};
Driver& driver();

/// What cuBLASLt's heuristic proposes, the best first.
struct Algorithm {
  bool usable = true;       ///< its state in the heuristic's result
  bool refused = false;     ///< by the product, after all
  bool tells = true;        ///< whether it says how it computes
  std::uint64_t flags = 0;  ///< CUBLASLT_NUMERICAL_IMPL_FLAGS_*
};
/// At first one that is refused and one that is not.
std::vector<Algorithm>& algorithms();

}  // namespace weft::cuda_libraries
