#include "Examples.h"
