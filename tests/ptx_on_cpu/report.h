#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compare.h"
#include "module.h"
#include "symbols.h"

// Which PTX ran in this process and what it showed. At its end the process writes it to a file of WEFT_PTX_REPORT.

namespace weft::ptx_on_cpu {

/// The modules of a folder, read when the first kernel is asked for.
class ModuleFolder {
 public:
  explicit ModuleFolder(std::string folder) : folder_(std::move(folder)) {}
  /// The entry that is this kernel; null where there is none.
  const Function* find(const Symbol& kernel);
  std::vector<std::unique_ptr<Module>>& modules();

 private:
  std::string folder_;
  std::vector<std::unique_ptr<Module>> modules_;
  std::map<std::string, std::map<std::string, std::string>> names_;  // by module: the entry by its name without hashes
};

void note_launch(const Function& entry, std::uint64_t executed, double seconds);
void note_traits(const Traits& traits);
void note_difference(const Function& entry, const Difference& difference, const Traits& traits);
/// Thread instructions of the latest launch.
std::uint64_t last_executed();
/// Whether a launch of that many thread instructions is worth repeating for the entry's fences.
bool wants_fences(const Function& entry, std::uint64_t executed, std::uint64_t most);
/// Whether some launch differed without the fence.
bool fence_missed(const Function& entry, std::uint32_t fence);
void note_fence(const Function& entry, std::uint32_t fence, std::uint64_t schedule);

}  // namespace weft::ptx_on_cpu

/// The launches from here on make one result. nn/cli/check_hashes.cpp calls these two where they are linked.
extern "C" void weft_ptx_begin_result();
/// What took part in the launches since then: 1 an approximation, 2 a tensor core, 4 a product of cuBLAS, all of them
/// added up, or 8 when no PTX ran; -1 without WEFT_PTX.
extern "C" int weft_ptx_end_result();
