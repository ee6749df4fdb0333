#pragma once

#include "weft/nn/checkpoint.h"
#include "weft/nn/data.h"
#include "weft/nn/fold.h"
#include "weft/nn/init.h"
#include "weft/nn/layers.h"
#include "weft/nn/loss.h"
#include "weft/nn/module.h"
#include "weft/nn/optim.h"
#include "weft/nn/recipe.h"
#include "weft/nn/resnet9.h"
#include "weft/nn/schedule.h"
#include "weft/nn/trainer.h"
