import { networks } from "../bench/graphs.ts";
import { testScale } from "./support/scale.ts";

testScale(networks);
