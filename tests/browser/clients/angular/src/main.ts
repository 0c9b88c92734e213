// Angular's HttpClient with its XSRF defaults; `send` is what the tests call.
import { HttpClient, HttpErrorResponse, HttpInterceptorFn, provideHttpClient, withInterceptors, withXsrfConfiguration } from "@angular/common/http";
import { Component, inject, provideZonelessChangeDetection, VERSION } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";
import { firstValueFrom } from "rxjs";
import { recover, SIGN_IN } from "./recipe";

// For servers that set no readable cookie: the value from the sign-in's body, kept in web storage.
const storedToken: HttpInterceptorFn = (request, next) => {
  const token = sessionStorage.getItem("xsrfToken");
  return next(token ? request.clone({ setHeaders: { "X-XSRF-TOKEN": token } }) : request);
};

@Component({ selector: "app-root", template: "Angular {{ version }}" })
class App {
  readonly version = VERSION.full;
  private readonly http = inject(HttpClient);

  constructor() {
    Object.assign(window, { client: { version: this.version, send: this.send.bind(this) } });
  }

  private async send(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    try {
      const answer = await firstValueFrom(this.http.request(method, path, { body, observe: "response" }));
      return { status: answer.status, body: answer.body };
    } catch (error) {
      if (error instanceof HttpErrorResponse) return { status: error.status, body: error.error };
      throw error;
    }
  }
}

// With `?recipe` it is the application of the documentation's recipe instead.
const recipe = new URLSearchParams(location.search).has("recipe");
const xsrf = withXsrfConfiguration({ cookieName: "XSRF-TOKEN", headerName: "X-XSRF-TOKEN" });

bootstrapApplication(App, {
  providers: [
    provideZonelessChangeDetection(),
    recipe ? provideHttpClient(xsrf, withInterceptors([recover])) : provideHttpClient(withInterceptors([storedToken])),
    { provide: SIGN_IN, useValue: () => (window as unknown as { signIn: () => Promise<boolean> }).signIn() },
  ],
});
