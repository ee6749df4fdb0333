// GoogleTest's main, which tells ctest of a program whose every case was skipped: exit code 77 (SKIP_RETURN_CODE).
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  // What an Environment skips runs no case, and is not in the cases' counts.
  const bool skipped = all.ad_hoc_test_result().Skipped() || all.skipped_test_count() > 0;
  const bool none_ran = all.ad_hoc_test_result().Skipped() || all.successful_test_count() == 0;
  return result == 0 && skipped && none_ran ? 77 : result;
}
