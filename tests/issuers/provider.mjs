// A certified OpenID provider on a free loopback port. Prints its issuer; each line that it reads makes it sign with a
// new key, and publish the former one beside it until the line after that.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const API = "urn:shop.example:api";
let keys = [];

function addKey() {
  const kid = `key-${Date.now()}-${keys.length}`;
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  keys = [{ ...privateKey.export({ format: "jwk" }), kid, alg: "RS256", use: "sig" }, ...keys].slice(0, 2);
}

const resourceServer = {
  scope: "orders:read orders:write",
  audience: API,
  accessTokenTTL: 600,
  accessTokenFormat: "jwt",
  jwt: { sign: { alg: "RS256" } },
};

const provider = () =>
  new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: "web",
        client_secret: "a secret of the client of the tests",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
      },
    ],
    scopes: ["orders:read", "orders:write"],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => API,
        getResourceServerInfo: () => resourceServer,
        useGrantedResource: () => true,
      },
    },
    cookies: { keys: ["a secret of the cookies of the tests"] },
  });

let answer;
const server = createServer((request, response) => answer(request, response));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

function rotate() {
  addKey();
  answer = provider().callback();
}

rotate();
console.log(issuer);
for await (const _ of createInterface({ input: process.stdin })) {
  rotate();
  console.log("rotated");
}
process.exit(0);
