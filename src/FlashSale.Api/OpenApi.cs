using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using FlashSale.Api.Orders;
using FlashSale.Api.Purchase;
using FlashSale.Api.Sales;
using FlashSale.Platform;
using Microsoft.AspNetCore.Mvc.ApiExplorer;
using Microsoft.OpenApi;

namespace FlashSale.Api;

/// <summary>The body of a purchase as OpenAPI shows it. <see cref="PurchaseBody"/> reads the real one.</summary>
public sealed record PurchaseForm(string Sku, int Quantity);

/// <summary>The body of a 202 as OpenAPI shows it. <see cref="AcceptedAnswer"/> writes the real one.</summary>
public sealed record AcceptedForm(
    Guid OrderId, string SaleId, string Sku, int Quantity, Money Amount, string Status, string StatusUrl, string EventsUrl, string AcceptedAt);

/// <summary>The OpenAPI description of the shoppers' API, at /openapi/v1.json.</summary>
public static class OpenApi
{
    /// <summary>Error statuses that every order endpoint may answer, besides its own.</summary>
    public static readonly int[] OrderErrors = [401, 404, 429, 503];

    /// <summary>Error statuses that a purchase may answer.</summary>
    public static readonly int[] PurchaseErrors = [400, 401, 403, 404, 409, 413, 415, 422, 425, 429, 503];

    // Members with a fixed set of values, by type and JSON name.
    private static readonly Dictionary<(Type, string), string[]> Words = new()
    {
        [(typeof(SaleHead), "status")] = ["scheduled", "open", "paused", "sold_out", "closed"],
        [(typeof(SalePage), "status")] = ["scheduled", "open", "paused", "sold_out", "closed"],
        [(typeof(ItemPage), "availability")] = ["available", "low", "sold_out"],
        [(typeof(AcceptedForm), "status")] = ["accepted"],
        [(typeof(OrderPage), "status")] = ["accepted", "pending_payment", "paid", "cancelled", "expired", "rejected", "refunded"],
    };

    /// <summary>Registers the OpenAPI document.</summary>
    public static void AddOpenApiDocument(this WebApplicationBuilder builder)
    {
        // The host refuses numbers in quotes, so the document must not offer them.
        builder.Services.ConfigureHttpJsonOptions(json => json.SerializerOptions.NumberHandling = JsonNumberHandling.Strict);
        builder.Services.AddOpenApi(options =>
        {
            ApiDocument.Describe(options, "FlashSale, shoppers",
                new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", BearerFormat = "JWT" }, context => IsOpen(context.Description));
            options.AddSchemaTransformer((schema, context, _) =>
            {
                foreach (var (name, member) in schema.Properties ?? new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal))
                {
                    if (member is not OpenApiSchema text || text.Type is not { } type || !type.HasFlag(JsonSchemaType.String)) continue;
                    if (Words.TryGetValue((context.JsonTypeInfo.Type, name), out var words)) text.Enum = [.. words.Select(word => (JsonNode)word)];
                    if (name.EndsWith("At", StringComparison.Ordinal) || name is "payBy" or "serverTime") text.Format = "date-time";
                }
                return Task.CompletedTask;
            });
            options.AddOperationTransformer((operation, context, _) =>
            {
                operation.Responses ??= [];
                foreach (var status in context.Description.ActionDescriptor.EndpointMetadata.OfType<Errors>().SelectMany(errors => errors.Statuses))
                    operation.Responses[status.ToString()] = ApiDocument.ProblemResponse(context, Meaning(status), asksToRetry: status is 409 or 425 or 429 or 503);
                return Task.CompletedTask;
            });
        });
    }

    /// <summary>Serves a page at /docs on which people read the description.</summary>
    public static void UseDocs(this WebApplication app) => app.UseDocs(docs => docs.UseSwaggerUI(page =>
    {
        (page.RoutePrefix, page.DocumentTitle) = (ApiDocument.DocsPath[1..], "FlashSale, shoppers");
        page.SwaggerEndpoint(ApiDocument.Path, "Shoppers");
    }));

    /// <summary>Adds the endpoint's error statuses to the document.</summary>
    public static RouteHandlerBuilder ProducesErrors(this RouteHandlerBuilder endpoint, params int[] statuses) => endpoint.WithMetadata(new Errors(statuses));

    /// <summary>Adds a header to the document's answer with this status.</summary>
    public static RouteHandlerBuilder ProducesHeader(this RouteHandlerBuilder endpoint, int status, string name, string description) =>
        endpoint.AddOpenApiOperationTransformer((operation, _, _) =>
        {
            if (operation.Responses?[status.ToString()] is OpenApiResponse response) ApiDocument.AddHeader(response, name, description);
            return Task.CompletedTask;
        });

    /// <summary>
    /// Adds to the document that the endpoint sends an ETag, and 304 to a client that has the page already.
    /// </summary>
    public static RouteHandlerBuilder ProducesETag(this RouteHandlerBuilder endpoint) => endpoint
        .ProducesHeader(200, "ETag", "The version of the page.")
        .Takes(ParameterLocation.Header, "If-None-Match", "ETags of pages that the client has.", ApiDocument.Of(JsonSchemaType.String))
        .AddOpenApiOperationTransformer((operation, _, _) =>
        {
            (operation.Responses ??= [])["304"] = new OpenApiResponse { Description = "The client has this page." };
            return Task.CompletedTask;
        });

    /// <summary>Adds to the document a parameter that the endpoint's handler reads by itself.</summary>
    public static RouteHandlerBuilder Takes(
        this RouteHandlerBuilder endpoint, ParameterLocation place, string name, string description, OpenApiSchema schema, bool isRequired = false) =>
        endpoint.AddOpenApiOperationTransformer((operation, _, _) =>
        {
            ApiDocument.AddParameter(operation, place, name, description, schema, isRequired);
            return Task.CompletedTask;
        });

    /// <summary>
    /// Adds to the document the Idempotency-Key header and the sale's id, which the endpoint's handler reads by itself.
    /// </summary>
    public static RouteHandlerBuilder TakesIdempotencyKey(this RouteHandlerBuilder endpoint) => endpoint
        .Takes(ParameterLocation.Path, "saleId", "The sale.", ApiDocument.Of(JsonSchemaType.String), isRequired: true)
        .Takes(ParameterLocation.Header, IdempotencyKey.Header, $"1 to {IdempotencyKey.MaxLength} visible ASCII characters, bare or as a quoted string.",
            new OpenApiSchema { Type = JsonSchemaType.String, MinLength = 1, MaxLength = IdempotencyKey.MaxLength + 2 }, isRequired: true);

    // The sale pages are public, and a webhook carries a signature instead of a token.
    private static bool IsOpen(ApiDescription endpoint) =>
        endpoint.HttpMethod == "GET" ? endpoint.RelativePath!.StartsWith("api/v1/sales", StringComparison.Ordinal)
        : endpoint.RelativePath == "api/v1/payments/webhook";

    private static string Meaning(int status) => status switch
    {
        400 => "The request is not valid: invalid_request says where, idempotency_key_missing that it has no key.",
        401 => "No valid token, or signature.",
        403 => "Not for this caller: user_blocked, ticket_required, ticket_invalid or challenge_required.",
        404 => "There is no such sale, item or order, or it is another user's.",
        409 => "Not in this state: the code says which.",
        413 => "The body is too large.",
        415 => "The body is of another media type, or encoded.",
        422 => "It contradicts what is known: idempotency_key_reused, amount_mismatch or payment_mismatch.",
        425 => "The sale is not open yet.",
        429 => "Too many requests.",
        503 => "Nothing was done (temporarily_unavailable, overloaded, purchases_suspended), or it is not known (outcome_unknown: repeat it with the same key).",
        _ => throw new ArgumentOutOfRangeException(nameof(status), status, "Say what it means."),
    };

    private sealed record Errors(int[] Statuses);
}
