import { testShard } from "./support/conformance-shard.ts";

testShard(2);
