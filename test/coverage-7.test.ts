import { testCoverage } from "./support/coverage-shard.ts";

testCoverage(7);
