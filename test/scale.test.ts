import { chains } from "../bench/graphs.ts";
import { testScale } from "./support/scale.ts";

testScale(chains);
