// Angular's HttpClient with its XSRF defaults; `send` is what the tests call.
import { HttpClient, HttpErrorResponse, HttpInterceptorFn, provideHttpClient, withInterceptors } from "@angular/common/http";
import { Component, inject, provideZonelessChangeDetection, VERSION } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";
import { firstValueFrom } from "rxjs";

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

bootstrapApplication(App, {
  providers: [provideZonelessChangeDetection(), provideHttpClient(withInterceptors([storedToken]))],
});
