using FlashSale.Api.Purchase;
using FlashSale.Api.Sales;
using FlashSale.Platform;
using Microsoft.AspNetCore.Mvc.ApiExplorer;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace FlashSale.Api;

/// <summary>A purchase, as OpenAPI shows it; see <see cref="PurchaseBody"/>.</summary>
public sealed record PurchaseForm(string Sku, int Quantity);

/// <summary>A 202, as OpenAPI shows it; see <see cref="AcceptedAnswer"/>.</summary>
public sealed record AcceptedForm(
    Guid OrderId, string SaleId, string Sku, int Quantity, Money Amount, string Status, string StatusUrl, string EventsUrl, string AcceptedAt);

/// <summary>The description of the shoppers' API, at /openapi/v1.json.</summary>
public static class OpenApi
{
    private const string Bearer = "bearer";

    /// <summary>What every order endpoint may answer besides its own.</summary>
    public static readonly int[] OrderErrors = [401, 404, 429, 503];

    /// <summary>What a purchase may answer besides 202.</summary>
    public static readonly int[] PurchaseErrors = [400, 401, 403, 404, 409, 413, 415, 422, 425, 429, 503];

    /// <summary>Registers the description.</summary>
    public static void AddOpenApiDocument(this WebApplicationBuilder builder) => builder.Services.AddOpenApi(options =>
    {
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo { Title = "FlashSale, shoppers", Version = "v1" };
            document.Servers?.Clear();
            document.Components ??= new OpenApiComponents();
            document.Components.SecuritySchemes ??= new Dictionary<string, IOpenApiSecurityScheme>(StringComparer.Ordinal);
            document.Components.SecuritySchemes[Bearer] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = Bearer, BearerFormat = "JWT" };
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            foreach (var status in context.Description.ActionDescriptor.EndpointMetadata.OfType<Errors>().SelectMany(errors => errors.Statuses))
                (operation.Responses ??= [])[status.ToString()] = new OpenApiResponse { Description = "A problem (RFC 9457) with a stable code." };
            if (!IsOpen(context.Description))
                operation.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(Bearer, context.Document)] = [] }];
            return Task.CompletedTask;
        });
    });

    // The sale pages are for everyone, and a webhook carries a signature.
    private static bool IsOpen(ApiDescription endpoint) =>
        endpoint.HttpMethod == "GET" ? endpoint.RelativePath!.StartsWith("api/v1/sales", StringComparison.Ordinal)
        : endpoint.RelativePath == "api/v1/payments/webhook";

    /// <summary>Names the error statuses of an endpoint.</summary>
    public static RouteHandlerBuilder ProducesErrors(this RouteHandlerBuilder endpoint, params int[] statuses) => endpoint.WithMetadata(new Errors(statuses));

    /// <summary>Adds the Idempotency-Key header and the sale's id to an endpoint whose handler reads them itself.</summary>
    public static RouteHandlerBuilder TakesIdempotencyKey(this RouteHandlerBuilder endpoint) => endpoint.AddOpenApiOperationTransformer((operation, _, _) =>
    {
        operation.Parameters =
        [
            new OpenApiParameter { Name = "saleId", In = ParameterLocation.Path, Required = true, Schema = new OpenApiSchema { Type = JsonSchemaType.String } },
            new OpenApiParameter
            {
                Name = IdempotencyKey.Header, In = ParameterLocation.Header, Required = true, Description = "1 to 255 visible ASCII characters, bare or as a quoted string.",
                Schema = new OpenApiSchema { Type = JsonSchemaType.String, MaxLength = IdempotencyKey.MaxLength },
            },
        ];
        return Task.CompletedTask;
    });

    private sealed record Errors(int[] Statuses);
}
