#include "cpu/runtime/cgroup.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <locale>
#include <sstream>

namespace weft::cpu {
namespace {

/// A file of numbers as the kernel writes them, whatever the program's locale is.
std::ifstream numbers_in(const std::string& path) {
  std::ifstream file(path);
  file.imbue(std::locale::classic());
  return file;
}

/// cpu.max holds "quota period" or "max period"; v1 has one number in each of two files, -1 for no quota.
double quota_of(const std::string& folder) {
  double quota = 0.0, period = 0.0;
  if (std::ifstream file = numbers_in(folder + "/cpu.max"); file >> quota >> period) {
    return quota > 0.0 && period > 0.0 ? quota / period : 0.0;
  }
  std::ifstream quota_file = numbers_in(folder + "/cpu.cfs_quota_us");
  std::ifstream period_file = numbers_in(folder + "/cpu.cfs_period_us");
  if (quota_file >> quota && period_file >> period && quota > 0.0 && period > 0.0) return quota / period;
  return 0.0;
}

/// The smallest quota on the way from mount/path up to mount, 0 if there is none.
double smallest_quota(const std::string& mount, std::string path) {
  double smallest = 0.0;
  for (;;) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    const double quota = quota_of(mount + path);
    if (quota > 0.0 && (smallest == 0.0 || quota < smallest)) smallest = quota;
    if (path.empty()) return smallest;
    const std::size_t slash = path.rfind('/');
    path.erase(slash == std::string::npos ? 0 : slash);
  }
}

bool has_item(const std::string& comma_list, const std::string& item) {
  return ("," + comma_list + ",").find("," + item + ",") != std::string::npos;
}

}  // namespace

int cgroup_cpus(const std::string& root) {
  double smallest = 0.0;
  std::ifstream groups(root + "/proc/self/cgroup");  // lines "hierarchy:controllers:path"; v2 has no controllers
  for (std::string line; std::getline(groups, line);) {
    std::istringstream fields(line);
    std::string hierarchy, controllers, path;
    if (!std::getline(fields, hierarchy, ':') || !std::getline(fields, controllers, ':')) continue;
    std::getline(fields, path);
    if (!controllers.empty() && !has_item(controllers, "cpu")) continue;
    const std::string mount = root + "/sys/fs/cgroup" + (controllers.empty() ? "" : "/" + controllers);
    const double quota = smallest_quota(mount, path);
    if (quota > 0.0 && (smallest == 0.0 || quota < smallest)) smallest = quota;
  }
  return static_cast<int>(std::min(std::ceil(smallest), 1e6));
}

}  // namespace weft::cpu
