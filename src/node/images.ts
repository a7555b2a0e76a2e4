import jpeg from "jpeg-js";
import { PNG } from "pngjs";
import { UserError } from "../base/errors.ts";
import type { Picture } from "../data/pictures.ts";
import { bytesOf } from "./files.ts";

/** Pictures of more pixels than this are refused: a small file can claim any size. */
const mostPixels = 1 << 26;

/** Decodes PNG or JPEG, told apart by content. @throws UserError `image` */
export function decodePicture(bytes: Uint8Array, file: string): Picture {
  const fail = (reason: string): never => {
    throw new UserError("image", `${file}: ${reason}`);
  };
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (bytes[0] === 0x89 && bytes[1] === 0x50) {
      if (bytes.length < 24 || buffer.readUInt32BE(16) * buffer.readUInt32BE(20) > mostPixels) fail("is a PNG of an impossible size");
      const { width, height, data } = PNG.sync.read(buffer);
      return { width, height, data: bytesOf(data) };
    }
    if (bytes[0] === 0xff && bytes[1] === 0xd8)
      return jpeg.decode(buffer, { useTArray: true, maxResolutionInMP: mostPixels / 1e6, maxMemoryUsageInMB: 1024 });
  } catch (e) {
    if (e instanceof UserError) throw e;
    fail(`cannot be decoded (${(e as Error).message})`);
  }
  return fail("is neither a PNG nor a JPEG picture");
}
